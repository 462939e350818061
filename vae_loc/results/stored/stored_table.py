"""The cohort tables of a folder of results, brought to what its scores JSONs state now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from vae_loc.results.cohort_table import (
    SCHEMA_VERSION,
    TABLE,
    CohortRow,
    Entry,
    Status,
    facts_of,
    is_cohort_table,
    write_page,
)
from vae_loc.results.stored.stored_scan import StoredScan
from vae_loc.system.reading import read_csv, to_csv
from vae_loc.system.writing import write_atomically
from vae_loc.vocabulary import MAPS

TABLES = "cohort*.csv"  # the parts that a SLURM array left, too


def read_rows(folder: Path) -> list[dict[str, str]]:
    """Return the rows of all cohort tables in a folder that this version wrote; the whole cohort's first."""
    return [row for table in _tables(folder) for row in _rows(table)]


def write_tables(folder: Path, scans: Sequence[StoredScan]) -> tuple[Path, ...]:
    """Bring the cohort tables of a folder up to date, and make the cohort's page; return the table and its page.

    The rows of scans that failed, or that the folder does not hold, stay. What the table lacks is added at its end.
    A folder of one scan that has no table gets none.
    """
    methods = [method for method in MAPS if any(method in stored.summary.maps for stored in scans)]
    new = {row.scan: row.cells(methods) for row in map(_row, scans)}
    whole, tables = folder / TABLE, _tables(folder)
    for part in (table for table in tables if table != whole):
        write_atomically(part, to_csv([_newer(row, new) for row in _rows(part)]))
    rows = _rows(whole) if whole in tables else [row for part in tables for row in _rows(part)]
    listed = {row["scan"] for row in rows}
    cells = [_newer(row, new) for row in rows] + [row for scan, row in new.items() if scan not in listed]
    if len(cells) < 2:
        return ()
    write_atomically(whole, to_csv(cells))
    return whole, write_page(whole)


def _newer(row: Mapping[str, object], new: Mapping[str, Mapping[str, object]]) -> Mapping[str, object]:
    """Return the new row of a scan, unless its last run failed."""
    return row if row["status"] == "failed" else new.get(str(row["scan"]), row)


def _row(stored: StoredScan) -> CohortRow:
    """Return the row of a scan: what the run that scored it stated, and the facts of its scores JSON."""
    row, seconds = stored.row, stored.row.get("seconds")
    status: Status = "skipped" if row.get("status") == "skipped" else "done"
    entry = Entry(stored.case, status, float(seconds) if seconds else None, stored.scores, facts_of(stored.summary))
    made = entry.row(stored.scores.parent)
    return made.model_copy(update={name: row[name] for name in ("scan", "mask") if row.get(name)})


def _tables(folder: Path) -> list[Path]:
    """Return the cohort tables of a folder, the whole cohort's first."""
    found = sorted(path for path in folder.glob(TABLES) if is_cohort_table(path))
    return sorted(found, key=lambda path: path.name != TABLE)


def _rows(table: Path) -> list[dict[str, str]]:
    """Return the rows of a table; none of one of another version, which is made anew."""
    rows = read_csv(table, "a cohort table", ["scan", "status", "scores"])
    return [row for row in rows if row.get("schema_version") == str(SCHEMA_VERSION)]
