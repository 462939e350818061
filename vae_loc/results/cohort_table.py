"""The cohort table: one row for each scan, scored or failed."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from vae_loc.errors import UnusableInput, VaeLocError
from vae_loc.results.output_names import is_page
from vae_loc.results.scan_summary import ScanSummary, read_whole_summary
from vae_loc.scans.cases import Case
from vae_loc.system.reading import read_csv, to_csv
from vae_loc.system.writing import refuse_inputs, write_atomically
from vae_loc.vocabulary import MAPS, SAMPLE_SCORES, Method

TABLE = "cohort.csv"
SCHEMA_VERSION = 2
Status = Literal["done", "skipped", "failed"]
SAMPLE_COLUMNS = tuple(name + end for name in SAMPLE_SCORES for end in ("", "_percentile"))


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True)


class MapFacts(_Part):
    """The columns of one map: share above the 5 % level; threshold, volume and findings of its mask.

    `strength` is that of the strongest finding, `strongest` says in words what it is.
    """

    flagged: float | None = None
    threshold: float | None = None
    lesion_ml: float | None = None
    findings: int | None = None
    strength: float | None = None
    strongest: str | None = None


class ScanFacts(_Part):
    """The columns of a scan that was scored; numbers have 6 digits, since people read the table."""

    contrast: str
    model: str
    brain_mask: str
    brain_ml: float
    samples: dict[str, float | None]
    maps: dict[Method, MapFacts]
    warnings: str


class CohortRow(_Part):
    """One row of the cohort table.

    In the CSV the facts stand in columns of their own: `samples` by their names, the fields of `MapFacts` after the
    name of each map. What a failed scan does not have is an empty cell.
    """

    scan: str
    subject: str
    contrast: str | None
    status: Status
    error: str | None
    scores: str | None
    facts: ScanFacts | None
    seconds: float | None
    mask: str | None = None
    schema_version: int = SCHEMA_VERSION

    def cells(self, methods: Sequence[Method]) -> dict[str, object]:
        """Return the row as it stands in the CSV, with the columns of some maps; None is an empty cell."""
        facts = self.facts
        maps = facts.maps if facts else {}
        row: dict[str, object] = {name: getattr(self, name) for name in _FIRST}
        row |= {name: getattr(facts, name, None) for name in _FACTS}
        row |= {name: facts.samples.get(name) if facts else None for name in SAMPLE_COLUMNS}
        for method in methods:
            row |= {f"{method}_{name}": getattr(maps.get(method), name, None) for name in MapFacts.model_fields}
        last = {name: getattr(self, name) for name in _LAST}
        return row | {"warnings": (facts.warnings or None) if facts else None} | last


_FIRST, _FACTS, _LAST = (
    ("scan", "mask", "subject", "contrast", "status", "error", "scores"),
    ("model", "brain_mask", "brain_ml"),
    ("seconds", "schema_version"),
)


@dataclass(frozen=True)
class Entry:
    """The outcome of one scan.

    Attributes
    ----------
    status : `skipped` if whole outputs of the same model, options and scan were there already
    seconds : wall time that it took
    scores : its scores JSON, None where it failed
    facts : what the table holds of the scores JSON
    written : the files written in this run
    notes : warnings, one line each
    error, exit_code : why it failed, and what a run of it alone ends with
    mask : the brain mask file that was used, or would have been; None where the brain was found otherwise
    """

    case: Case
    status: Status
    seconds: float | None
    scores: Path | None = None
    facts: ScanFacts | None = None
    written: tuple[Path, ...] = ()
    notes: tuple[str, ...] = ()
    error: str = ""
    exit_code: int = 0
    mask: Path | None = None

    def row(self, folder: Path) -> CohortRow:
        """Return the row of this scan in the table that lies in `folder`."""
        return CohortRow(
            scan=str(self.case.scan.absolute()),
            mask=None if self.mask is None else str(self.mask.absolute()),
            subject=self.case.subject,
            contrast=self.facts.contrast if self.facts else self.case.contrast,
            status=self.status,
            error=self.error or None,
            scores=Path(os.path.relpath(self.scores, folder)).as_posix() if self.scores else None,
            facts=self.facts,
            seconds=None if self.seconds is None else round(self.seconds, 2),
        )


def failure(case: Case, error: VaeLocError, seconds: float | None = None) -> Entry:
    """Return the entry of a scan that cannot be scored."""
    return Entry(case, "failed", seconds, error=str(error), exit_code=error.exit_code, mask=case.brain_mask)


def facts_of(summary: ScanSummary) -> ScanFacts:
    """Return the facts of a scores JSON that the table holds, numbers to 6 digits."""
    masks = summary.masks or {}
    maps = {method: MapFacts(flagged=_rounded(of.flagged)) for method, of in summary.maps.items()}
    for method, mask in masks.items():
        marked: dict[str, object] = {"threshold": _rounded(mask.threshold), "lesion_ml": _rounded(mask.volume_ml)}
        first = mask.findings[0] if mask.findings else None
        marked |= {"findings": len(mask.findings), "strength": _rounded(first.strength) if first else None}
        maps[method] = maps[method].model_copy(update=marked | {"strongest": first.words if first else None})
    return ScanFacts(
        contrast=summary.model.contrast,
        model=summary.model.sha256,
        brain_mask=summary.brain_mask,
        brain_ml=_rounded(summary.brain_ml) or 0.0,
        samples={name: _rounded(getattr(summary.volume, name)) for name in SAMPLE_COLUMNS},
        maps=maps,
        warnings="; ".join(summary.warnings),
    )


def write_table(path: Path, entries: Sequence[Entry], methods: Sequence[Method]) -> None:
    """Write the cohort table, in the order of `entries`, with columns of `methods` and of all maps that are there."""
    known = {method for entry in entries if entry.facts for method in entry.facts.maps} | set(methods)
    columns = [method for method in MAPS if method in known]
    write_atomically(path, to_csv([entry.row(path.parent).cells(columns) for entry in entries]))


def update_table(path: Path, entries: Sequence[Entry], methods: Sequence[Method]) -> bool:
    """Put the rows of scans that were scored again into the table of an earlier cohort; return whether it names them.

    A table that someone made, or of another version, is left as it is.
    """
    try:
        rows = read_csv(path, "a cohort table", ["scan", "status", "scores", "schema_version"])
    except UnusableInput:
        return False
    known = {name for row in rows for name in row}
    columns = [method for method in MAPS if method in methods or f"{method}_flagged" in known]
    new = {str(entry.case.scan.absolute()): entry.row(path.parent).cells(columns) for entry in entries}
    ours = all(row["schema_version"] == str(SCHEMA_VERSION) for row in rows)
    if not ours or not any(row["scan"] in new for row in rows):
        return False
    write_atomically(path, to_csv([new.get(row["scan"], row) for row in rows]))
    return True


def is_cohort_table(path: Path) -> bool:
    """Return whether a file is a cohort table of any version."""
    try:
        read_csv(path, "a cohort table", ["scan", "status", "scores"])
    except UnusableInput:
        return False
    return True


def refuse_clashing_table(table: Path, paths: Sequence[Path], *, report: bool) -> None:
    """Refuse to replace an input, or a file that vae-loc did not write, by the cohort table or its page."""
    page = table.with_suffix(".html")
    refuse_inputs([table, page], list(paths))
    for path, own in ((table, is_cohort_table), *(((page, is_page),) if report else ())):
        if os.path.lexists(path) and not own(path):
            raise UnusableInput(path, "is there already and vae-loc did not write it; remove it, or give another -o")


def table_name(part: int, parts: int) -> str:
    """Return the name of the table of a cohort, or of one part of it.

    >>> table_name(1, 1), table_name(2, 4)
    ('cohort.csv', 'cohort_part-2-of-4.csv')
    """
    return TABLE if parts == 1 else f"cohort_part-{part}-of-{parts}.csv"


def read_entries(cases: Sequence[Case], scores_of: Callable[[Path], Path]) -> list[Entry]:
    """Return the outcome of earlier runs for scans: `done` where all files of a scores JSON are there and whole."""
    entries = []
    for case in cases:
        scores = scores_of(case.scan)
        summary = read_whole_summary(scores)
        if summary is None:
            fault = UnusableInput(case.scan, f"expected whole outputs beside {scores.name}, found none; score it first")
            entries.append(failure(case, fault))
        else:
            entries.append(Entry(case, "done", None, scores, facts_of(summary)))
    return entries


def _rounded(value: float | None) -> float | None:
    """Return a number to 6 digits."""
    return None if value is None else float(f"{value:.6g}")
