"""`hpo ledger import`: a file of experiments that people have kept by hand becomes records.

    text.py       bytes -> text: encoding, line ends, mangled characters
    outline.py    text -> sections, by its headings
    marks.py      status marks and status words; names, titles, dates and numbers in a heading
    labels.py     labels, and the headings of the ledger that they mean
    passages.py   a section's text -> passages, by its labels
    document.py   sections -> experiments, plans, questions, notes
    dashboard.py  the rows of a table of results, for the experiments that they name
    building.py   one of these -> a record, a question, a file of notes
    transfer.py   all of a file, beside what is in the ledger already

Every line of the file goes into exactly one record, question or note, word for word. Rows of a dashboard also go into
the records that they name.
"""
