"""The cohort table: one row a scan, whatever became of it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from vae_loc import __version__
from vae_loc.vocabulary import METHODS, Method, SAMPLE_SCORES
from vae_loc.scans.cases import Case
from vae_loc.system.reading import are_whole
from vae_loc.errors import UnusableInput, VaeLocError
from vae_loc.system.reading import read_text
from vae_loc.system.writing import write_atomically
from vae_loc.system.reading import to_csv

TABLE = "cohort.csv"
Status = Literal["done", "skipped", "failed"]
Summary = Mapping[str, object]  # what a scores JSON holds


@dataclass(frozen=True)
class Entry:
    """What became of one scan.

    Attributes
    ----------
    status : `skipped` if whole outputs of the same model, options and scan were there already
    scores : its scores JSON, None where it failed; `facts`, what the table says of it
    seconds : wall time that it took
    written : the files written in this run
    notes : warnings, one line each
    error, exit_code : why it failed, and what a run of it alone ends with
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


def failure(case: Case, error: VaeLocError, seconds: float | None = None) -> Entry:
    """Return the entry of a scan that cannot be scored."""
    return Entry(case, "failed", seconds, error=str(error), exit_code=error.exit_code)


def row_of(entry: Entry, folder: Path, methods: Sequence[Method]) -> dict[str, object]:
    """Return an entry as a row of the table in `folder`; the columns are those of docs/cohorts.md.

    What a failed scan does not have is None.
    """
    facts = {name: entry.facts.get(name) for name in _columns(methods)}
    row: dict[str, object] = {
        "scan": str(entry.case.scan.absolute()),
        "subject": entry.case.subject,
        "contrast": facts.pop("contrast") or entry.case.contrast,
        "status": entry.status,
        "error": entry.error or None,
        "scores": os.path.relpath(entry.scores, folder) if entry.scores else None,
    }
    return row | facts | {"seconds": None if entry.seconds is None else round(entry.seconds, 2)}


def facts_of(summary: Summary) -> dict[str, object]:
    """Return what the table says of a scores JSON, by column, numbers to 6 digits: people read it."""
    facts: dict[str, object] = {
        "contrast": _at(summary, "model", "contrast"),
        "model": _at(summary, "model", "sha256"),
        "brain_mask": summary.get("brain_mask"),
        "brain_ml": summary.get("brain_ml"),
    }
    for name in SAMPLE_SCORES:
        facts[name] = _at(summary, "volume", name)
        facts[f"{name}_percentile"] = _at(summary, "volume", f"{name}_percentile")
    for method in METHODS:
        components = _at(summary, "masks", method, "components")
        facts[f"{method}_flagged"] = _at(summary, "maps", method, "flagged")
        facts[f"{method}_threshold"] = _at(summary, "masks", method, "threshold")
        facts[f"{method}_lesion_ml"] = _at(summary, "masks", method, "volume_ml")
        facts[f"{method}_lesions"] = len(components) if isinstance(components, list) else None
    warnings = summary.get("warnings")
    facts["warnings"] = "; ".join(map(str, warnings)) if isinstance(warnings, list) else None
    return {name: _rounded(value) for name, value in facts.items() if value is not None}


def _columns(methods: Sequence[Method]) -> list[str]:
    """Return the columns that come from a scores JSON, in order."""
    samples = [name + end for name in SAMPLE_SCORES for end in ("", "_percentile")]
    maps = [method + end for method in methods for end in ("_flagged", "_threshold", "_lesion_ml", "_lesions")]
    return ["contrast", "model", "brain_mask", "brain_ml", *samples, *maps, "warnings"]


def write_table(path: Path, entries: Sequence[Entry], methods: Sequence[Method]) -> None:
    """Write the cohort table, in the order of `entries`."""
    write_atomically(path, to_csv([row_of(entry, path.parent, methods) for entry in entries]))


def table_name(part: int, parts: int) -> str:
    """Return the name of the table of a cohort, or of one part of it.

    >>> table_name(1, 1), table_name(2, 4)
    ('cohort.csv', 'cohort_part-2-of-4.csv')
    """
    return TABLE if parts == 1 else f"cohort_part-{part}-of-{parts}.csv"


def trusted_summary(scores: Path, made: Summary, models: Container[str]) -> dict[str, object] | None:
    """Return the content of a scores JSON, if it may stand for scoring the scan again; else None.

    Parameters
    ----------
    made : `inputs` and `options` as the JSON must state them
    models : SHA-256 of the models that it may be of

    Every file that the JSON names must be there with the SHA-256 that it states, and this version of
    vae-loc must have made it.
    """
    summary, stated = _whole_summary(scores), json.loads(json.dumps(made))
    if summary is None or any(summary.get(name) != stated[name] for name in ("inputs", "options")):
        return None
    model, version = _at(summary, "model", "sha256"), _at(summary, "versions", "vae-loc")
    return summary if model in models and version == __version__ else None


def read_entries(cases: Sequence[Case], scores_of: Callable[[Path], Path]) -> list[Entry]:
    """Return what earlier runs made of scans: `done` where all files of a scores JSON are there and whole."""
    entries = []
    for case in cases:
        scores = scores_of(case.scan)
        summary = _whole_summary(scores)
        if summary is None:
            fault = UnusableInput(case.scan, f"expected whole outputs beside {scores.name}, found none; score it first")
            entries.append(failure(case, fault))
        else:
            entries.append(Entry(case, "done", None, scores, facts_of(summary)))
    return entries


def _whole_summary(scores: Path) -> dict[str, object] | None:
    """Return the content of a scores JSON if every file that it names is there and whole, else None."""
    try:
        summary = json.loads(read_text(scores, "scores"))
        whole = are_whole({scores.parent / name: digest for name, digest in summary["files"].items()})
    except (UnusableInput, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return dict(summary) if whole else None


def _at(content: object, *names: str) -> object:
    for name in names:
        content = content.get(name) if isinstance(content, Mapping) else None
    return content


def _rounded(value: object) -> object:
    """Return a number to 6 digits: a table is read by people."""
    return float(f"{value:.6g}") if isinstance(value, float) else value
