"""The cohort table: one row for each scan, scored or failed; and its page: sortable, with links to the scans' own."""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from vae_loc.errors import UnusableInput, VaeLocError
from vae_loc.results.montage import LARGE_ROW
from vae_loc.results.output_names import is_page, page_of
from vae_loc.results.person_summary import people_beside
from vae_loc.results.scan_page import CITATION, environment, jpeg, look_of, stored_jpeg
from vae_loc.results.scan_summary import ScanSummary, read_summary
from vae_loc.scans.cases import Case
from vae_loc.system.reading import read_csv, to_csv
from vae_loc.system.writing import write_atomically
from vae_loc.vocabulary import MAPS, SAMPLE_SCORES, Method

TABLE = "cohort.csv"
SCHEMA_VERSION = 3  # since 3 with the columns of the user's table after it, and marked_ml, before that lesion_ml
Status = Literal["done", "skipped", "failed"]
SAMPLE_COLUMNS = tuple(name + end for name in SAMPLE_SCORES for end in ("", "_percentile"))
FIRST_COLUMNS = ("scan", "mask", "subject", "contrast", "status", "error", "scores", "model", "brain_mask", "brain_ml")
# of each map, after its name: the share above the 5 % level; of its mask, and of the strongest finding in it
MAP_COLUMNS = ("flagged", "threshold", "marked_ml", "findings", "strength", "strongest")
LAST_COLUMNS = ("warnings", "seconds", "schema_version")
THUMBNAIL_WIDTH, THUMBNAIL_QUALITY = 300, 70


@dataclass(frozen=True)
class Entry:
    """The outcome of one scan.

    Attributes
    ----------
    status : `skipped` if whole outputs of the same model, options and scan were there already
    seconds : wall time that it took
    scores : its scores JSON, None where it failed
    facts : the cells of the table that come from the scores JSON
    written : the files written in this run
    notes : warnings, one line each
    error, exit_code : why it failed, and what a run of it alone ends with
    mask : the brain mask file that was used, or would have been; None where the brain was found otherwise
    """

    case: Case
    status: Status
    seconds: float | None
    scores: Path | None = None
    facts: Mapping[str, object] = field(default_factory=dict)
    written: tuple[Path, ...] = ()
    notes: tuple[str, ...] = ()
    error: str = ""
    exit_code: int = 0
    mask: Path | None = None

    def row(self, folder: Path, methods: Sequence[Method]) -> dict[str, object]:
        """Return the row of this scan in the table that lies in `folder`, with the columns of some maps.

        None is an empty cell; the cells that a failed scan does not have are empty. The user's columns come last.
        """
        cells: dict[str, object] = {
            "scan": str(self.case.scan.absolute()),
            "mask": None if self.mask is None else str(self.mask.absolute()),
            "subject": self.case.subject,
            "contrast": self.case.contrast,
            "status": self.status,
            "error": self.error or None,
            "scores": Path(os.path.relpath(self.scores, folder)).as_posix() if self.scores else None,
            "seconds": None if self.seconds is None else round(self.seconds, 2),
            "schema_version": SCHEMA_VERSION,
            **self.facts,
        }
        of_maps = [f"{method}_{name}" for method in methods for name in MAP_COLUMNS]
        own = {name: cells.get(name) for name in (*FIRST_COLUMNS, *SAMPLE_COLUMNS, *of_maps, *LAST_COLUMNS)}
        return own | {given_name(name, own): cell for name, cell in self.case.columns}


def given_name(name: str, ours: Container[str]) -> str:
    """Return the name of a user's column in a table that has columns of these names."""
    return f"given_{name}" if name in ours else name


def failure(case: Case, error: VaeLocError, seconds: float | None = None) -> Entry:
    """Return the entry of a scan that cannot be scored."""
    return Entry(case, "failed", seconds, error=str(error), exit_code=error.exit_code, mask=case.brain_mask)


def facts_of(summary: ScanSummary) -> dict[str, object]:
    """Return the cells of the table that come from a scores JSON, numbers to 6 digits, since people read them."""
    facts: dict[str, object] = {
        "contrast": summary.model.contrast,
        "model": summary.model.sha256,
        "brain_mask": summary.brain_mask,
        "brain_ml": summary.brain_ml,
        "warnings": "; ".join(summary.warnings) or None,
    }
    facts |= {name: getattr(summary.volume, name) for name in SAMPLE_COLUMNS}
    facts |= {f"{method}_flagged": about.flagged for method, about in summary.maps.items()}
    for method, mask in (summary.masks or {}).items():
        first = mask.findings[0] if mask.findings else None
        about_mask = (mask.threshold, mask.volume_ml, len(mask.findings))
        about_first = (first.strength, first.words) if first else (None, None)
        facts |= {f"{method}_{name}": of for name, of in zip(MAP_COLUMNS[1:], about_mask + about_first, strict=True)}
    return {name: float(f"{value:.6g}") if isinstance(value, float) else value for name, value in facts.items()}


def write_tables(
    path: Path, entries: Sequence[Entry], methods: Sequence[Method], *, new: bool = True, report: bool = True
) -> tuple[Path, ...]:
    """Write the cohort table, in the order of `entries`, and its page; return their paths.

    A table that is not `new` is that of an earlier cohort: the rows of scans that were scored again are put into it.
    One that someone made, that is of another version, or that names none of the scans, is left as it is.

    Parameters
    ----------
    methods : the maps that have columns; so have all maps that are there
    report : whether a new table has a page; a page that is there is made anew
    """
    earlier: list[dict[str, str]] = []
    if not new:
        with contextlib.suppress(UnusableInput):
            earlier = read_csv(path, "a cohort table", ["scan", "status", "scores", "schema_version"])
    of = [entry.facts for entry in entries] if new else earlier
    columns = [method for method in MAPS if method in methods or any(f"{method}_flagged" in names for names in of)]
    rows = [entry.row(path.parent, columns) for entry in entries]
    if not new:
        own = {row["scan"]: row for row in rows}
        ours = all(row["schema_version"] == str(SCHEMA_VERSION) for row in earlier)
        if not ours or own.keys().isdisjoint(row["scan"] for row in earlier):
            return ()
        rows = [dict.fromkeys(rows[0]) | row | own.get(row["scan"], {}) for row in earlier]  # ours come first
    write_atomically(path, to_csv(rows))
    shown = (new and report) or is_page(path.with_suffix(".html"))
    return (path, write_page(path)) if shown else (path,)


def table_name(part: int, parts: int) -> str:
    """Return the name of the table of a cohort, or of one part of it.

    >>> table_name(1, 1), table_name(2, 4)
    ('cohort.csv', 'cohort_part-2-of-4.csv')
    """
    return TABLE if parts == 1 else f"cohort_part-{part}-of-{parts}.csv"


@dataclass(frozen=True)
class PageRow:
    """One scan on the page: a row of the table, its thumbnail (base64 of a JPEG) and its page's name, if any."""

    cells: Mapping[str, str]
    thumbnail: str | None
    page: str | None

    def number(self, column: str) -> float | None:
        """Return a cell as a number, None if it is empty."""
        try:
            return float(self.cells.get(column, ""))
        except ValueError:
            return None


def write_page(table: Path) -> Path:
    """Write a cohort table as a page beside it, where its links start, and return its path.

    Raises
    ------
    UnusableInput : if the table cannot be read, or the page cannot be written.
    """
    page = table.with_suffix(".html")
    folder, cells = table.parent, read_csv(table, "a cohort table", ["scan", "status"])
    methods = [method for method in MAPS if cells and f"{method}_flagged" in cells[0]]
    method = "combi" if "combi" in methods or not methods else methods[0]
    # the thumbnail and the page that each scan's JSON names, where they are there
    thumbnail = functools.partial(jpeg, quality=THUMBNAIL_QUALITY, width=THUMBNAIL_WIDTH, box=LARGE_ROW)
    rows = []
    for row in cells:
        picture = own = None
        if row.get("scores"):
            with contextlib.suppress(UnusableInput):
                picture, own = look_of(folder / row["scores"], read_summary(folder / row["scores"]).files)
        rows.append(PageRow(row, stored_jpeg(picture, thumbnail), own.relative_to(folder).as_posix() if own else None))
    # failed scans first, then the strongest finding first
    rows.sort(key=lambda row: (row.cells["status"] != "failed", -(row.number(f"{method}_strength") or 0)))
    statuses = [row.cells["status"] for row in rows]
    # people of whom all scans are in the table, and their pages
    people = []
    for scores, summary in people_beside([folder / row["scores"] for row in cells if row.get("scores")]):
        own = page_of(scores)
        people.append((summary, own.relative_to(folder).as_posix() if own.exists() else None))
    template = environment().get_template("cohort.html")
    text = template.render(
        title=table.absolute().parent.name,
        rows=rows,
        method=method,
        marked=any(row.number(f"{method}_marked_ml") is not None for row in rows for method in methods),
        counts={status: statuses.count(status) for status in ("done", "skipped", "failed")},
        warned=sum(bool(row.cells.get("warnings")) for row in rows),
        people=people,
        citation=CITATION,
    )
    write_atomically(page, text.encode("utf-8"))
    return page
