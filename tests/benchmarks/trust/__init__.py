"""Do results hold? Each claim of the product, tried on planted truths: python -m tests.benchmarks.trust [ROW ...]

A line a row: its name, what was measured with a 95 % Monte-Carlo interval, the goal, and how often it was tried.
"""
