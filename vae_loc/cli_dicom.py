"""How the commands take DICOM series and give DICOM Segmentations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from vae_loc.errors import UnusableInput, UnusableOption, printable
from vae_loc.options import complain

if TYPE_CHECKING:
    from vae_loc.checkpoint import Method
    from vae_loc.dicom import Converted
    from vae_loc.ledger import Entry
    from vae_loc.places import Target


def converted(scans: list[Path], output: Path, *, series: str | None, needed: bool, quiet: bool) -> Converted:
    """Write the DICOM series among `scans` as NIfTI beside the outputs, and say so.

    Parameters
    ----------
    series : which series of a place that holds several
    needed : whether there must be one, for `--dicom-seg`

    Raises
    ------
    UnusableOption : if there is none, and an option asks for one.
    """
    from vae_loc.dicom import convert_dicom

    folder = output.parent if output.name.lower().endswith((".nii", ".nii.gz")) else output
    found = convert_dicom(scans, folder, wanted=series)
    if not found.series and not found.faults and (needed or series is not None):
        option = "--series" if series is not None else "--dicom-seg"
        raise UnusableOption(option, "none of the scans is a DICOM folder or zip; leave it out")
    for scan, source in found.series.items():
        if not quiet:
            complain(f"{printable(source.place)}: DICOM, converted to {printable(scan)}")
    return found


def with_segmentations(
    entries: Sequence[Entry], found: Converted, where: Target, methods: Sequence[Method]
) -> list[Entry]:
    """Write a DICOM Segmentation for every mask of a converted series; return the entries with what was written."""
    return [
        _with_segmentation(entry, found, where, methods)
        if entry.status != "failed" and entry.case.scan in found.series
        else entry
        for entry in entries
    ]


def _with_segmentation(entry: Entry, found: Converted, where: Target, methods: Sequence[Method]) -> Entry:
    from vae_loc.dicomseg import write_segmentation

    scan, written = entry.case.scan, list(entry.written)
    try:
        for method in methods:
            mask = where.path(scan, method, "mask.nii.gz")
            written.append(write_segmentation(mask, scan, found.series[scan]))
    except UnusableInput as error:
        return replace(entry, status="failed", error=str(error), exit_code=error.exit_code)
    return replace(entry, written=tuple(written))
