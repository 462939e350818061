"""Scans on disk, read and with their brain, as every scoring starts."""

from __future__ import annotations

from vae_loc.preprocessing.open_scan import open_scan
from vae_loc.scans.cases import find_cases


def opened(path, **options):
    """Return the `Scan` of a file; its brain mask lies beside it, or is found."""
    (case,) = find_cases([path])
    return open_scan(case, **options)
