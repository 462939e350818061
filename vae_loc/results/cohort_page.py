"""A cohort table as a web page: sortable, with thumbnails and links to the scans' own pages."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from vae_loc.errors import UnusableInput
from vae_loc.results.output_names import person_page_of
from vae_loc.results.persons.person_summary import people_beside
from vae_loc.results.scan_page import CITATION, environment, jpeg, look_of, stored_jpeg
from vae_loc.results.scan_summary import read_summary
from vae_loc.system.reading import read_csv
from vae_loc.system.writing import write_atomically
from vae_loc.vocabulary import MAPS

THUMBNAIL_WIDTH, THUMBNAIL_QUALITY = 300, 70
MIDDLE_ROWS = (0.0, 0.27, 0.938, 0.76)  # of a montage: left, top, right, bottom, as shares of its sides


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
    """Write a cohort table as a page beside it, and return its path."""
    page = table.with_suffix(".html")
    write_atomically(page, cohort_page(table))
    return page


def cohort_page(table: Path) -> bytes:
    """Return the page of a cohort table, UTF-8; it belongs beside the table, for its links start there.

    Raises
    ------
    UnusableInput : if the table cannot be read.
    """
    cells = read_csv(table, "a cohort table", ["scan", "status"])
    rows = [_row(table.parent, row) for row in cells]
    methods = [method for method in MAPS if cells and f"{method}_flagged" in cells[0]]
    method = "combi" if "combi" in methods or not methods else methods[0]
    rows.sort(key=lambda row: _worklist_place(row, method))
    statuses = [row.cells["status"] for row in rows]
    people = people_beside([table.parent / row["scores"] for row in cells if row.get("scores")])
    page = environment().get_template("cohort.html")
    text = page.render(
        title=table.absolute().parent.name,
        rows=rows,
        method=method,
        marked=any(row.number(f"{method}_lesion_ml") is not None for row in rows for method in methods),
        counts={status: statuses.count(status) for status in ("done", "skipped", "failed")},
        warned=sum(bool(row.cells.get("warnings")) for row in rows),
        people=[(summary, _link(person_page_of(scores), table.parent)) for scores, summary in people],
        citation=CITATION,
    )
    return text.encode("utf-8")


def _link(page: Path, folder: Path) -> str | None:
    """Return the way from a folder to a page below it, None if there is no page."""
    return page.relative_to(folder).as_posix() if page.exists() else None


def _worklist_place(row: PageRow, method: str) -> tuple[bool, float]:
    """Return the key of the rows' order: failed scans first, then the strongest finding first."""
    return row.cells["status"] != "failed", -(row.number(f"{method}_strength") or 0)


def _row(folder: Path, cells: Mapping[str, str]) -> PageRow:
    picture = page = None
    if cells.get("scores"):
        scores = folder / cells["scores"]
        picture, page = look_of(scores, _files_of(scores))
    thumbnail = functools.partial(jpeg, quality=THUMBNAIL_QUALITY, width=THUMBNAIL_WIDTH, box=MIDDLE_ROWS)
    return PageRow(cells, stored_jpeg(picture, thumbnail), page.relative_to(folder).as_posix() if page else None)


def _files_of(scores: Path) -> list[str]:
    """Return the names of a scan's outputs, or none if its JSON is not there any more."""
    try:
        return list(read_summary(scores).files)
    except UnusableInput:
        return []
