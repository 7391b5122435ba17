"""The command line: parses, calls a verb of the public face, and prints.

main.py       the commands; their options are in options.py
stages.py     run, preflight, gate, sweep, promote
reading.py    report, status, logs, dashboard
upkeep.py     init, adopt, next, retry, rebuild
export.py     export
database.py   database
ledger.py     ledger VERB, with the verbs in ledger_*.py and questions.py

exits.py      how a command ends that could not do what it was asked
display.py    what is shown while a verb works
results.py    what is shown once it has ended
terminal.py   lines and tables for a person
document.py   the document that --json prints instead
"""
