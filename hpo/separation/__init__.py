"""Which hyperparameters the trials of a sweep can tell from chance.

stepwise.py     the answer: one effect after the other, as long as the next one is more than chance
effects.py      what a hyperparameter may do to a score, as columns of a linear model
responses.py    what every trial came to, as numbers
permutation.py  how large an effect is by chance
"""
