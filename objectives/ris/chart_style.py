"""Colours and legends that the task's charts share."""

# The report's own colours: it shows each in a darker or lighter shade where the reader's page is dark.
LEARNED_COLOUR = "#2a78d6"
CLASSICAL_COLOUR = "#4a3aa7"
GREEDY_COLOUR = "#d9591f"
REFERENCE_COLOUR = "#8a8882"
INK = "#0b0b0b"

LEGEND_BELOW = {"orientation": "h", "yanchor": "top", "y": -0.2, "x": 0}  # where subplots have titles
