"""The report: a study's folder is collected into findings, and these are written as one HTML file.

report.py     the file: one section after the other
collect.py    from the folder to findings; the parts of it in collect_*.py
findings.py   every number that a reader is shown, as records
views.py      what the templates render, as records of text and numbers

The sections, in their order:

header.py     the verdict, what to do next (steps.py), the key figures, and what it rests on (basis.py)
results.py    the promotion
pictures.py   the task's pictures of the winner
earlier.py    promotions that were kept aside
gate.py       whether the cheap setting ranks like the full one
search.py     the sweep
failures.py   with what trials failed
grounds.py    the preflight, and how to have it all again

Figures are drawn in draw_*.py, from what drawing.py, trial_marks.py, axes.py and palette.py have; figures.py has all of
them for a notebook. What the numbers mean is worked out in importance.py, observed.py, separation_words.py, audit.py
and saturation.py, and the space of a next study in next_space.py and next_range.py. status.py says what runs, and
foreign.py is the page of a study that hpo did not run.
"""
