"""The report's figures: each takes findings and returns a Drawing, a plotly figure with its title and its point in
words. Nothing is computed here that a reader is told; that is in findings.py."""
