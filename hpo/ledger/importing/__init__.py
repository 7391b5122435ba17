"""`hpo ledger import`: a file of experiments that people have kept by hand becomes records.

    text.py       bytes -> text: encoding, line ends, mangled characters
    outline.py    text -> sections, by its headings
    marks.py      status marks and status words; names, titles, dates and numbers in a heading
    labels.py     a section's text -> passages under the ledger's headings, by its labels
    document.py   sections -> experiments, plans, questions, notes
    transfer.py   these -> records, beside those that there are

Every line of the file goes into exactly one record, question or note, word for word. Rows of a dashboard also go into
the records that they name.
"""
