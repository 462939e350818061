"""CSV file <-> records, one a row."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from vae_loc.errors import UnusableInput
from vae_loc.files import read_text


def to_csv(records: Sequence[Mapping[str, object]]) -> bytes:
    """Return records as CSV, UTF-8, with the columns of all; None is an empty cell."""
    buffer = io.StringIO()
    columns = list(dict.fromkeys(name for record in records for name in record))
    writer = csv.DictWriter(buffer, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return buffer.getvalue().encode("utf-8", "backslashreplace")


def read_csv(path: Path, what: str, columns: Sequence[str]) -> list[dict[str, str]]:
    """Return the rows of a table that has at least `columns`; cells that are missing are empty.

    Raises
    ------
    UnusableInput : if it cannot be read, or a column is missing.
    """
    try:
        reader = csv.DictReader(io.StringIO(read_text(path, what), newline=""), restval="")
        absent = [column for column in columns if column not in (reader.fieldnames or [])]
        if absent:
            raise UnusableInput(path, f"expected the columns {' and '.join(columns)}, found no {absent[0]}")
        return [{name: row[name] for name in reader.fieldnames or []} for row in reader]
    except csv.Error as error:
        raise UnusableInput(path, f"could not be read as {what}: {error}") from error
