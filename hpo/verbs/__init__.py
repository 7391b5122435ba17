"""The verbs, as functions: what `hpo VERB` does, for a notebook or another program. They are public in hpo itself.

Each takes a study (the value, the path of its file, or a name in ./studies) and the options of the command line as
keywords. Each raises the errors of hpo.errors, keeps the study's log of commands, and brings the experiment ledger up
to date where there is a folder experiments/ beside the folder of runs. Nothing is printed unless `progress` is True, or
a Display that prints. `log` is a file that gets a line for each trial that ends, and `notify` a command that is started
for each event, with its JSON document on standard input (docs/notify.md).

run.py          run: the stages in order, which are
preflight.py    preflight
gate.py         gate
sweep.py        sweep
promote.py      promote
report.py       report

adopt.py        adopt, report_on
export.py       export_trials
overview.py     status
findings.py     findings, figures
logs.py         logs
upkeep.py       retry, rebuild
next_study.py   next_study: the file of the study that comes after a sweep
load.py         load_study
init.py         a task, a study and a test to start from; their texts are in starter/

opening.py      a study with its options applied; what can be refused is refused here
options.py      the options, as the command line has them
scheduler.py    the address of --scheduler
devices.py      which devices there are
go.py           whether preflight lets a study be searched
changes.py      a study that was changed since it began
tries.py        the configurations of --try
budget.py       a budget of time at work; plan.py plans it, clock.py counts its time, and plan_words.py says it
failures.py     which trials of a sweep failed, and whether they were too many

watching.py     what all stages do while they work
command_log.py  runs/STUDY/commands.log
display.py      what is shown while a verb works
notebook.py     ... in a notebook
progress.py     which of them
data_progress.py  ... while the data are read
news/           what is told of each event: the file of --log, and the command of --notify
"""
