"""The projects of docs/examples as plain scripts: PyTorch and Optuna alone. docs/projects.md compares both."""
