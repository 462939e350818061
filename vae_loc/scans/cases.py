"""Folder / list / table / files / BIDS dataset (BIDS 1.10) -> cases, and splits by subject."""

from __future__ import annotations

import logging
import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from vae_loc.errors import UnusableInput, printable
from vae_loc.scans.dicom_files import has_magic
from vae_loc.scans.nifti import read_header
from vae_loc.scans.own_outputs import own_outputs, user_columns
from vae_loc.scans.stated_contrast import NAMES, Stated, name_parts, stated_by_name
from vae_loc.scans.volume import checked_header, stem
from vae_loc.system.reading import read_csv, read_text

NIFTI_SUFFIXES = (".nii", ".nii.gz")
PAIR_SUFFIXES = (".hdr", ".hdr.gz")  # each stands for its .img too
LIST_SUFFIXES = (".txt", ".list")
TABLE_SUFFIXES = (".csv", ".tsv")  # with the columns scan and, where they are known, mask, subject, contrast
OUTPUTS = ("anomaly", "signed", "percentile")  # last parts of names of maps: no scan of another program is called so
NOT_SCANS = (*OUTPUTS, "brainmask", "mask", "seg", "lesions", "labels", "probseg", "dseg")  # last part
NO_SERIES = (*NIFTI_SUFFIXES, *PAIR_SUFFIXES, "_dseg.dcm")  # our own DICOM Segmentations lie beside scans
SHOWN_NAMES = 3  # of files that were passed over
LOOKED_AT = 20  # files of a subfolder, for DICOM


@dataclass(frozen=True)
class Case:
    """One scan, its subject, its brain mask where one lies beside it, and its contrast where a table names it.

    `header` is what the header of a DICOM series states of the contrast; `columns` are the further cells, by column, of
    its row in a table.
    """

    scan: Path
    subject: str
    brain_mask: Path | None
    contrast: str | None = None
    header: Stated | None = None
    columns: tuple[tuple[str, str], ...] = ()

    @property
    def stated(self) -> Stated:
        """The statements of the series' header about the scan, else those of its name."""
        return self.header or stated_by_name(stem(self.scan))


@dataclass(frozen=True)
class Sifted:
    """Cases as they were asked for, those whose headers can be used, and what is wrong with the others."""

    all_cases: list[Case]
    cases: list[Case]
    faults: dict[Case, UnusableInput]


def subject_of(scan: Path) -> str:
    """File name up to its last underscore, or its folder's name if it is only a contrast.

    All scans of one subject share it.

    >>> [subject_of(Path(name)) for name in ("IXI012_t1.nii.gz", "IXI012/T1w.nii", "IXI012-HH-1212-T1.nii")]
    ['IXI012', 'IXI012', 'IXI012-HH-1212']
    """
    name = stem(scan)
    parts = name_parts(name)
    if scan.parent.name and all(part in NAMES for part in parts):
        return scan.parent.name
    if "_" not in name and parts[-1] in NAMES:
        return name.rpartition("-")[0]
    return name.rpartition("_")[0] or name


def person_of(subject: str) -> str:
    """Return the person of a subject, across sessions: the BIDS subject where the name has one.

    >>> person_of("sub-01_ses-2"), person_of("IXI012")
    ('sub-01', 'IXI012')
    """
    match = re.match("sub-[A-Za-z0-9]+", subject)
    return match[0] if match else subject


def contrast_of(scan: Path) -> str | None:
    """Contrast named by the last part of the file name, or None."""
    return stated_by_name(stem(scan)).contrast


def find_cases(paths: Sequence[Path], *, contrast: str | None = None, stated_only: bool = False) -> list[Case]:
    """Return the scans named by files, folders, list files (`.txt`, one path a line) and tables (`.csv`).

    In a folder every NIfTI counts except masks, labels, our own outputs, which are logged, hidden files, and
    scans whose name is that of another contrast. A sibling `<subject>_brainmask.nii.gz` becomes the mask.
    A table has the column scan, and may have mask, subject and contrast; an empty cell, or a column
    that is missing, means what a file's name would mean. Paths start at the folder of the list or table.
    With `stated_only`, a folder's images of other kinds, by their names (`stated_by_name`), are left out and logged.

    Raises
    ------
    UnusableInput : if a path is missing or holds no scan.
    """
    cases: dict[Path, Case] = {}
    for path in paths:
        for case in _cases_in(path, contrast, stated_only=stated_only):
            cases.setdefault(case.scan, case)
    return list(cases.values())


def shard_of(cases: Sequence[Case], part: int, parts: int) -> list[Case]:
    """Return every `parts`-th case from the `part`-th on, counted from 1: together the parts are all cases, once.

    >>> cases = [Case(Path(f"{n}.nii"), str(n), None) for n in range(5)]
    >>> [case.subject for case in shard_of(cases, 2, 3)]
    ['1', '4']
    """
    return list(cases[part - 1 :: parts])


def sift(
    cases: Sequence[Case], *, volume: int | None = None, known: Mapping[Path, UnusableInput] | None = None
) -> Sifted:
    """Read every scan's header, and nothing else; return the good cases and the faults of the others.

    `known` are the faults of scans that need not be looked at any more.
    """
    faults = {case: known[case.scan] for case in cases if known and case.scan in known}
    for case in cases:
        if case in faults:
            continue
        try:
            checked_header(case.scan, read_header(case.scan), volume)
        except UnusableInput as error:
            faults[case] = error
    return Sifted(list(cases), [case for case in cases if case not in faults], faults)


def unique_names(scans: Sequence[Path]) -> dict[Path, str]:
    """Return a name for every scan's outputs: its stem, with as many of its folders as make it unique.

    >>> unique_names([Path("a/x.nii"), Path("b/x.nii"), Path("y.nii")])
    {PosixPath('a/x.nii'): 'a_x', PosixPath('b/x.nii'): 'b_x', PosixPath('y.nii'): 'y'}
    """
    names = {scan: stem(scan) for scan in scans}
    depth = 0
    while len(set(names.values())) < len(names):
        depth += 1
        taken = Counter(names.values())
        shared = {scan for scan, name in names.items() if taken[name] > 1}
        if all(depth > len(scan.absolute().parts) for scan in shared):
            return names | {scan: f"{names[scan]}-{number}" for number, scan in enumerate(sorted(shared), start=1)}
        for scan in shared:
            folders = scan.absolute().parts[1:-1][-depth:]
            names[scan] = "_".join([*folders, stem(scan)])
    return names


def split_subjects(cases: Sequence[Case], *, holdout: float, seed: int) -> tuple[list[Case], list[Case]]:
    """Split cases by subject: (training, held out). The order of `cases` has no influence.

    Raises
    ------
    UnusableInput : with fewer than two subjects.
    """
    subjects = sorted({case.subject for case in cases})
    if len(subjects) < 2:
        raise UnusableInput("cohort", f"expected at least 2 subjects, found {len(subjects)}; add healthy scans")
    count = min(len(subjects) - 1, max(1, round(holdout * len(subjects))))
    order = np.random.default_rng(seed).permutation(len(subjects))
    held_out = {subjects[i] for i in order[:count]}
    in_order = sorted(cases, key=lambda case: (case.subject, case.scan.name))
    return [c for c in in_order if c.subject not in held_out], [c for c in in_order if c.subject in held_out]


def _cases_in(path: Path, contrast: str | None, *, stated_only: bool) -> list[Case]:
    name, scans = path.name.lower(), [path]
    if os.path.isdir(path):
        scans = _scans_in_folder(path, contrast, stated_only=stated_only)
    elif name.endswith(LIST_SUFFIXES):
        lines = [line.strip().strip("\"'") for line in read_text(path, "a list of scans").splitlines()]
        scans = [listed_path(path, line) for line in lines if line and not line.startswith("#")]
        if not scans:
            raise UnusableInput(path, "expected one scan a line, found none")
    if os.path.isdir(path) or not name.endswith(TABLE_SUFFIXES):
        return [Case(scan, subject_of(scan), _sibling_mask(scan)) for scan in scans]
    rows = read_csv(path, "a table of scans", ["scan"])
    if not rows or not all(row["scan"] for row in rows):
        raise UnusableInput(path, "expected a scan in every row, found none; fill the column scan")
    listed = []
    for row in rows:  # what a row leaves open comes from the file's name
        scan = listed_path(path, row["scan"])
        mask, subject, said = (row.get(name, "") for name in ("mask", "subject", "contrast"))
        brain_mask = listed_path(path, mask) if mask else _sibling_mask(scan)
        named = NAMES.get(said.lower(), said) or None
        listed.append(Case(scan, subject or subject_of(scan), brain_mask, named, columns=user_columns(row)))
    return [case for case in listed if contrast is None or case.contrast in (None, contrast)]


def listed_path(of: Path, name: str) -> Path:
    """Return the path that a list or table names, from its folder; backslashes part folders where that is a file."""
    path = of.parent / name
    other = of.parent / name.replace("\\", "/")
    return other if other != path and not os.path.exists(path) and os.path.exists(other) else path


def _scans_in_folder(folder: Path, contrast: str | None, *, stated_only: bool) -> list[Path]:
    """Return the scans of a folder; log which files are outputs of vae-loc or images of other kinds, by their names."""
    try:
        files = sorted(folder.iterdir())
    except OSError as error:
        raise UnusableInput(folder, f"could not be listed: {error.strerror}; check the folder") from error
    own, outputs, scans = own_outputs(folder), [], []
    for path in files:
        name, kind = path.name.lower(), re.split("[-_]", stem(path).lower())[-1]
        if name.endswith(NIFTI_SUFFIXES) and (path in own or kind in OUTPUTS):
            outputs.append(path.name)
        elif name.endswith(NIFTI_SUFFIXES + PAIR_SUFFIXES) and not name.startswith("."):
            of_contrast = contrast is None or contrast_of(path) in (None, contrast)
            if path not in own and kind not in NOT_SCANS and of_contrast:
                scans.append(path)
    others = [path for path in scans if stated_only and stated_by_name(stem(path)).other]
    scans = [path for path in scans if path not in others]
    log_left_out(folder, outputs, "files are outputs of vae-loc, or named like them, and no scans")
    log_left_out(folder, [path.name for path in others], "files are by their names no T1, T2 or FLAIR: left out")
    if scans and any(has_magic(path) for path in files if not path.name.lower().endswith(NO_SERIES)):
        raise UnusableInput(folder, "holds NIfTI scans beside DICOM files; name a scan, or move the DICOM to a folder")
    deeper = [path for path in files if os.path.isdir(path)]
    series = [path.name for path in deeper if any(has_magic(file) for file in islice(path.rglob("*"), LOOKED_AT))]
    log_left_out(folder, series, "subfolders hold DICOM files: left out; name them to score them")
    if not scans:
        mend = "its subfolders are not searched: name them, or use vae-loc bids" if deeper else "check the folder"
        raise UnusableInput(folder, f"expected a folder with .nii or .nii.gz scans, found none; {mend}")
    return scans


def log_left_out(folder: Path, names: Sequence[str], said: str) -> None:
    """Log which files of a folder are left out, and why; nothing without files."""
    if names:
        shown = ", ".join(names[:SHOWN_NAMES]) + (", ..." if len(names) > SHOWN_NAMES else "")
        logging.getLogger(__name__).warning("warning: %s", printable(f"{folder}: {len(names)} {said}: {shown}"))


def _sibling_mask(scan: Path) -> Path | None:
    masks = (scan.parent / f"{subject_of(scan)}_brainmask{suffix}" for suffix in NIFTI_SUFFIXES[::-1])
    return next((mask for mask in masks if mask != scan and os.path.isfile(mask)), None)
