"""What `score` and `segment` stored of scans, read again.

Other findings, pictures and pages are made of it; no scan is scored again.
"""
