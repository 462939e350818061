"""Scans and their annotations: a pattern, a table, or one file for one scan."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vae_loc.errors import UnusableInput, UnusableOption
from vae_loc.scans.cases import TABLE_SUFFIXES, Case, find_cases, listed_path
from vae_loc.system.reading import read_csv

SUBJECT = "{subject}"


@dataclass(frozen=True)
class LabelledCase:
    """One scan and the mask file of its lesions."""

    case: Case
    label: Path


def find_labelled(paths: Sequence[Path], labels: str | None, *, contrast: str | None = None) -> list[LabelledCase]:
    """Return scans with their annotations, ordered by subject.

    Parameters
    ----------
    paths : files, folders, `.txt` lists, or `.csv` tables with the columns scan and label
    labels : a path with `{subject}` (a bare name lies beside the scan), such a table, or the annotation of the only
        scan; None if the paths are tables
    contrast : in folders, only scans of this contrast

    Raises
    ------
    UnusableOption : if `labels` is missing, or is one file for several scans.
    UnusableInput : if there is no scan, or a scan has no annotation.
    """
    tables = [path for path in paths if path.name.lower().endswith(TABLE_SUFFIXES)]
    labelled = [row for table in tables for row in _rows(table)]
    if labels is not None and labels.lower().endswith(TABLE_SUFFIXES):
        listed = _rows(Path(labels))
        labelled += _of_table(find_cases(paths, contrast=contrast), listed, Path(labels)) if paths else listed
    elif others := [path for path in paths if path not in tables]:
        cases = [case for case in find_cases(others, contrast=contrast) if case.scan != Path(labels or "")]
        paired = [LabelledCase(case, _label_of(case, labels, len(cases))) for case in cases]
        annotations = {pair.label for pair in paired}
        labelled += [pair for pair in paired if pair.case.scan not in annotations]
    missing = [pair.label for pair in labelled if not os.path.isfile(pair.label)]
    if missing:
        raise UnusableInput(missing[0], f"expected an annotation, found none ({len(missing)} missing); check --labels")
    if not labelled:
        raise UnusableInput("cohort", "expected annotated scans, found none; name scans, folders or a .csv table")
    return sorted(labelled, key=lambda pair: (pair.case.subject, str(pair.case.scan)))


def _label_of(case: Case, labels: str | None, count: int) -> Path:
    """Return the annotation of one of `count` scans: a path with `{subject}`, or that of the only scan."""
    if labels is None or (SUBJECT not in labels and count > 1):
        raise UnusableOption("--labels", f"expected a path with {SUBJECT} or a table for {count} scans; got {labels}")
    return annotation_of(case, os.path.abspath(labels) if os.path.isfile(labels) else labels)


def annotation_of(case: Case, pattern: str) -> Path:
    """Return where the annotation of a scan lies by a path with `{subject}`; a bare name lies beside the scan."""
    path = Path(pattern.replace(SUBJECT, case.subject))
    return case.scan.parent / path if len(path.parts) == 1 else path


def _rows(table: Path) -> list[LabelledCase]:
    """Read a table; its paths start at its own folder."""
    rows = read_csv(table, "a table of scans and labels", ("scan", "label"))
    pairs = [[listed_path(table, row[name]) for name in ("scan", "label")] for row in rows]
    return [LabelledCase(find_cases([scan])[0], label) for scan, label in pairs]


def _of_table(cases: Sequence[Case], listed: Sequence[LabelledCase], table: Path) -> list[LabelledCase]:
    label_of = {pair.case.scan.resolve(): pair.label for pair in listed}
    unlisted = [case for case in cases if case.scan.resolve() not in label_of]
    if unlisted:
        raise UnusableInput(table, f"expected a row for {unlisted[0].scan}, found none ({len(unlisted)} missing)")
    return [LabelledCase(case, label_of[case.scan.resolve()]) for case in cases]
