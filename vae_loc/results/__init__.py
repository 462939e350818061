"""One scan or many scored: the files that are written, their names, and how they are shown.

The *summary* of a scan is the content of its scores JSON; the *cohort table* has one row for each scan; an *outcome* is
what became of all scans of a run. A *person's result* is made of the results of the scans of one session (`persons`).
*Output names* tell where the files of a scan go. A *page* is an HTML file.
"""
