"""The experiment ledger: one text file an experiment, experiments/<id>.md, kept in git beside the code.

    +++
    title = "Which rate and width suit low-light enhancement?"
    study = "lowlight"                 # the folder of runs/ that it is about, or several: ["a", "b"]; none by hand
    priority = 2                       # of what is planned; 1 comes first
    # -- kept by hpo from here on: edit what stands above this line, and the text below --
    status = "analysis"

    [[history]]
    at = "2026-11-21T14:30:00+00:00"
    ...
    +++

    ## Hypothesis
    ## Approach
    ...

Above the line stand the person's fields, below `+++` the person's text, under fixed headings; both are kept byte for
byte. Between them stands what the harness knows, which every sweep, promotion and report writes anew where there is a
folder experiments/ beside runs/, and `hpo ledger sync` at any time: state, trials, settings, verdict with intervals,
baselines, hashes, versions, times, files. After a merge that has mixed it up, sync again.

An id is `v{major}.{minor}_{variant}`: another major where the contract of inference has changed, another minor where
the question has. Its name is the id with the status behind it, v1.2_wide_success: planned -> wip -> analysis -> success
or failed, and back to wip. The harness starts and ends the work; a person concludes. Concluded, the harness's block is
frozen. What is missing is one of three things: "not run" (the stage has not been), "not measured" (it has been, and
gave no number) and "n/a" (there can be none).

    name.py          the name of a record: id and status
    fields.py        which fields and headings a person fills in
    front_matter.py  the form of its file: TOML, and text below
    prose.py         what stands under which heading of a person's text
    record.py        a record: parse and render
    question.py      an open question with its hypotheses, experiments/q1.md
    folder.py        the folder of records: lock, read, change, create
    verdicts.py      which status may follow which, and on what conditions
    lint.py          what a record promises and does not keep
    similar.py       which experiments are about the same

    harvest.py       what a study's run folder says
    keeping.py       the records of studies, up to date with their folders
    mending.py       the records of studies that were killed

    dashboard.py     tables of experiments that may be compared, for both pages and the list
    reading.py       what else both pages and the list say of the records
    markdown.py      EXPERIMENTS.md
    page.py          EXPERIMENTS.html, from templates/; its sections are in html_*.py

    importing/       a file of experiments that people have kept by hand
"""
