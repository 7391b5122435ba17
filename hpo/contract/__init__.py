"""What hpo asks of a task. A breach is a ContractError: what must hold, what was given, and the line of the task.

declared.py   of its class and its fields, when a study is loaded
returned.py   of what its methods return, where a value first arrives

The batches are looked at by hpo/data/contract.py, which everybody gets them through. The line: hpo/code/place.py.
"""
