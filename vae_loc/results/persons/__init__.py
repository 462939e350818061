"""Several contrasts of one person: which scans are of one person, and one result made of theirs (design [83]).

It starts from the files that scoring left of each scan, so no scan is scored again.
"""
