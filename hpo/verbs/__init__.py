"""The verbs, as functions: what `hpo VERB` does, for a notebook or another program. They are public in hpo itself.

gate.py         gate, and where run has it
stages.py       preflight, sweep, promote, report, and run: all four in order
adopt.py        adopt, report_on
overview.py     status
findings.py     findings, figures
upkeep.py       retry, rebuild
tries.py        the configurations of --try
next_study.py   next_study: the file of the study that comes after a sweep
load.py         load_study
init.py         a task, a study and a test to start from; their texts are in starter/
budget.py       a budget of time at work; plan.py plans it, and clock.py says when it began
options.py      the options, as the command line has them
opening.py      a study with its options applied; what can be refused is refused here
go.py           whether preflight lets a study be searched
devices.py      which devices there are
command_log.py  runs/STUDY/commands.log
display.py      what is shown while a verb works
notebook.py     ... in a notebook
progress.py     which of them
"""
