"""Files of scans and lists of them: NIfTI, DICOM series, BIDS datasets, tables of cases, annotations.

A *volume* is a 3D scan as read from disk; a *case* is a scan with its subject, brain mask and contrast; an *annotation*
is a mask of lesions on a scan's own grid.
"""
