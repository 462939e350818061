"""Which files of a folder vae-loc wrote: the scores JSON of each scan names them, with their SHA-256."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from vae_loc.errors import UnusableInput
from vae_loc.system.reading import are_whole, read_text

READ_COLUMNS = ("scan", "mask", "subject", "contrast")  # that a table of scans may have for vae-loc
LAST_COLUMN = "schema_version"  # of ours in a cohort table; those after it are the user's
SCORES_ENDING = "_scores.json"
BEGINNING = '{\n "schema_version"'  # of a scores JSON


def user_columns(row: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Return the cells, by column, that a row of a table of scans has for the user alone.

    >>> user_columns({"scan": "a.nii", "subject": "a", "age": "41"})
    (('age', '41'),)
    """
    names = list(row)
    names = names[names.index(LAST_COLUMN) + 1 :] if LAST_COLUMN in row else names
    return tuple((name, row[name]) for name in names if name and name not in READ_COLUMNS)


def files_of(scores: Path) -> dict[Path, str]:
    """Return the files that a scores JSON of any version names, below its folder, with their SHA-256; none without it.

    Does not look whether they are there, or unchanged.
    """
    try:
        content = json.loads(read_text(scores, "scores"))
        files = {scores.parent / name: str(digest) for name, digest in content["files"].items()}
    except (UnusableInput, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}
    inside = scores.parent.resolve()
    return {path: digest for path, digest in files.items() if path.resolve().is_relative_to(inside)}


def own_outputs(folder: Path) -> set[Path]:
    """Return the paths that any scores JSON in a folder names."""
    return {path for scores in folder.glob(f"*{SCORES_ENDING}") for path in files_of(scores)}


def is_scores(path: Path) -> bool:
    """Return whether a file is a scores JSON of any version, whole, cut off or empty."""
    try:
        text = read_text(path, "scores")
        content = json.loads(text)
    except UnusableInput:
        return False
    except (ValueError, RecursionError):
        return not text or text.startswith(BEGINNING)
    return isinstance(content, dict) and {"scan", "model", "versions"} <= content.keys()


def wrote(path: Path, scores: Path) -> bool:
    """Return whether a file is as vae-loc wrote it: named by `scores`, and unchanged."""
    digest = files_of(scores).get(path)
    return digest is not None and are_whole({path: digest})
