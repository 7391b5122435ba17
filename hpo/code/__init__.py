"""Which code a value depends on, and a fingerprint of it that comments and formatting do not change.

closure.py      the user's code: followed from a task through the names and imports that it uses
program.py      ... its source files, read as they are asked for
units.py        ... a source file in definitions, imports and statements
uses.py         ... what each of these refers to
followed.py     ... once for as long as no file changes
harness.py      the code of hpo itself
fingerprint.py  the digest of a source text
modules.py      which modules are the user's own
notebook.py     the source of what was defined in a notebook
place.py        the line of a class or a function, for messages
"""
