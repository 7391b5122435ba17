"""What hpo asks of a task and of a study. A breach names what must hold, what was given and what is allowed.

declared.py        what the class of a task and its fields must be, looked at when a study is loaded
returned.py        what its methods must return, looked at where a value first arrives
study_fields.py    what the fields of a study must be
space_entries.py   what the entries of its space must be
numbers.py         whole numbers that a user gives

A breach of a task's is a ContractError, with the line of the task (hpo/code/place.py). Its batches are looked at by
hpo/data/contract.py, which everybody gets them through.

The values that a study may have in its fields, beside those of hpo/task.py, hpo/recipe.py and hpo/space.py:

pruning.py         Median, Rungs
tuned.py           Tuned, a classical method whose settings are searched
costs.py           limits and goals
several_goals.py   ... as Optuna's sampler sees them
optuna_objects.py  samplers and pruners of Optuna's
"""
