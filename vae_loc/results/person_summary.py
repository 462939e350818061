"""The JSON of a person, typed, and the table of a person's findings."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from pydantic import BaseModel, ValidationError

from vae_loc.errors import UnusableInput
from vae_loc.results.output_names import PERSON_SCORES
from vae_loc.scoring.finding_model import PersonFinding, columns_of, findings_tsv
from vae_loc.system.reading import read_text
from vae_loc.vocabulary import Method

SCHEMA_VERSION = 1
SEEN_COLUMNS = {
    "contrasts": "contrasts in which it was found, the strongest first",
    "signs": "brighter or darker than expected of a healthy brain, for each of these",
    "scan_findings": "its number in the table of each of these scans",
}


class PersonMask(BaseModel, frozen=True):
    """The findings of a person in one map.

    Attributes
    ----------
    false_findings : how many findings a healthy person is expected to have, at most
    per_scan : how many each contrast may contribute: an even share, but no less than its model's scans can tell
    """

    false_findings: float
    per_scan: dict[str, float]
    volume_ml: float
    findings: list[PersonFinding]


class PersonScan(BaseModel, frozen=True):
    """A scan of the person: the files of its result that the person's is made of, with their SHA-256.

    Attributes
    ----------
    scores : its scores JSON, from the folder of the person's
    off_mm : how far its alignment to the mean brain is from that of the first scan, median over the brain; None if
        that is not known
    through_template : whether its maps came through the mean brain, because the two were too far apart
    """

    contrast: str
    scan: str
    scores: str
    scores_sha256: str
    off_mm: float | None
    through_template: bool


class PersonSummary(BaseModel, frozen=True):
    """The content of a person's JSON; `scans` by contrast, and the first gives the grid."""

    schema_version: int = SCHEMA_VERSION
    person: str
    scans: list[PersonScan]
    masks: dict[Method, PersonMask]
    warnings: list[str]
    versions: dict[str, str]
    use: str
    files: dict[str, str] = {}


def person_columns() -> dict[str, str]:
    """Return the columns of the table of a person's findings, and their descriptions."""
    columns = columns_of(PersonFinding)
    del columns["seen"]
    return {name: columns[name] for name in ("index", "name")} | SEEN_COLUMNS | columns


def person_tsv(findings: Sequence[PersonFinding]) -> bytes:
    """Return the table of a person's findings, UTF-8."""
    rows = []
    for finding in findings:
        seen = [(one.contrast, one.sign, one.finding) for one in finding.seen]
        rows.append(finding.model_dump() | dict(zip(SEEN_COLUMNS, zip(*seen, strict=True), strict=True)))
    return findings_tsv(person_columns(), rows)


def read_person(path: Path) -> PersonSummary | None:
    """Return the content of a person's JSON; None if there is none, or it is of another schema."""
    try:
        text = read_text(path, "a person's result")
        return PersonSummary.model_validate_json(text.encode("utf-8", "surrogateescape"))
    except (UnusableInput, ValidationError, UnicodeError, RecursionError):
        return None


def people_beside(scores: Collection[Path]) -> list[tuple[Path, PersonSummary]]:
    """Return the results of people whose scans all have their scores among these files, and their JSONs, by name."""
    known = {path.resolve() for path in scores}
    found = []
    for folder in sorted({path.parent for path in scores}):
        for path in sorted(folder.glob(f"*{PERSON_SCORES}")):
            summary = read_person(path)
            if summary is not None and all((folder / scan.scores).resolve() in known for scan in summary.scans):
                found.append((path, summary))
    return found
