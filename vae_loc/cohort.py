"""Folder / list / files -> cases, and splits by subject."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vae_loc.errors import UnusableInput
from vae_loc.volume import stem

NIFTI_SUFFIXES = (".nii", ".nii.gz")
LIST_SUFFIXES = (".txt", ".list")
NOT_SCANS = ("brainmask", "mask", "seg", "lesions", "labels", "anomaly", "dseg")  # last part of a name
CONTRASTS = {"t1": "t1", "t1w": "t1", "t2": "t2", "t2w": "t2", "flair": "flair"}


@dataclass(frozen=True)
class Case:
    """One scan, whose it is, and its brain mask where one lies beside it."""

    scan: Path
    subject: str
    brain_mask: Path | None


def subject_of(scan: Path) -> str:
    """File name up to its last underscore: all scans of one subject share it.

    >>> subject_of(Path("IXI012_t1.nii.gz"))
    'IXI012'
    """
    name = stem(scan)
    return name.rpartition("_")[0] or name


def contrast_of(scan: Path) -> str | None:
    """Contrast named by the last part of the file name, or None."""
    return CONTRASTS.get(stem(scan).rpartition("_")[2].lower())


def find_cases(places: Sequence[Path], *, contrast: str | None = None) -> list[Case]:
    """Return the scans named by files, folders and list files (`.txt`, one path a line).

    In a folder every NIfTI counts except masks, labels, our own outputs, hidden files, and scans
    whose name says another contrast. A sibling `<subject>_brainmask.nii.gz` becomes the mask.

    Raises
    ------
    UnusableInput : if a place is missing or holds no scan.
    """
    scans: dict[Path, None] = {}
    for place in places:
        for scan in _scans_in(place, contrast):
            scans.setdefault(scan)
    return [Case(scan, subject_of(scan), _sibling_mask(scan)) for scan in scans]


def split_subjects(cases: Sequence[Case], *, holdout: float, seed: int) -> tuple[list[Case], list[Case]]:
    """Split cases by subject: (training, held out). The order of `cases` has no influence.

    Raises
    ------
    UnusableInput : with fewer than two subjects.
    """
    subjects = sorted({case.subject for case in cases})
    if len(subjects) < 2:
        raise UnusableInput(
            "cohort", f"expected scans of at least 2 subjects, found {len(subjects)}; add healthy scans"
        )
    count = min(len(subjects) - 1, max(1, round(holdout * len(subjects))))
    order = np.random.default_rng(seed).permutation(len(subjects))
    held_out = {subjects[i] for i in order[:count]}
    in_order = sorted(cases, key=lambda case: (case.subject, case.scan.name))
    return [c for c in in_order if c.subject not in held_out], [c for c in in_order if c.subject in held_out]


def _scans_in(place: Path, contrast: str | None) -> list[Path]:
    if place.is_dir():
        found = [path for path in sorted(place.iterdir()) if _is_scan(path, contrast)]
        if not found:
            raise UnusableInput(place, "expected a folder with .nii or .nii.gz scans, found none; check the folder")
        return found
    if place.name.lower().endswith(LIST_SUFFIXES):
        try:
            lines = [line.strip() for line in place.read_text(encoding="utf-8").splitlines()]
        except (OSError, UnicodeDecodeError) as error:
            raise UnusableInput(place, f"could not be read as a list of scans: {error}") from error
        listed = [place.parent / line for line in lines if line and not line.startswith("#")]
        if not listed:
            raise UnusableInput(place, "expected one scan a line, found none")
        return listed
    return [place]


def _is_scan(path: Path, contrast: str | None) -> bool:
    name = path.name.lower()
    if name.startswith(".") or not name.endswith(NIFTI_SUFFIXES):
        return False
    if stem(path).rpartition("_")[2].lower() in NOT_SCANS:
        return False
    return contrast is None or contrast_of(path) in (None, contrast)


def _sibling_mask(scan: Path) -> Path | None:
    for suffix in NIFTI_SUFFIXES[::-1]:
        mask = scan.parent / f"{subject_of(scan)}_brainmask{suffix}"
        if mask != scan and mask.is_file():
            return mask
    return None
