"""The tables of a cohort for statistics, each with its data dictionary (BIDS): findings, people, burden of each region.

They are made of the cohort table and of the JSONs that it names.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vae_loc.errors import UnusableInput
from vae_loc.results.cohort_table import given_name
from vae_loc.results.output_names import group_table_paths, is_group_table
from vae_loc.results.person_summary import PersonSummary, people_beside
from vae_loc.results.scan_summary import MaskSummary, ScanSummary, read_summary
from vae_loc.scans.cases import person_of
from vae_loc.scans.own_outputs import user_columns
from vae_loc.scoring.anatomy import ELSEWHERE, regions
from vae_loc.scoring.finding_model import tsv
from vae_loc.system.reading import read_csv
from vae_loc.system.writing import together, write_atomically, write_json
from vae_loc.vocabulary import Method

Row = dict[str, object]  # cells by column
Columns = dict[str, object]  # a data dictionary: the description of each column
Joint = Mapping[Path | None, tuple[PersonSummary, str]]  # by scores: the person's result, and the scan's contrast in it
SESSION = re.compile(r"_ses-([A-Za-z0-9]+)")
PEAK = [f"{frame}_{axis}_mm" for frame in ("peak", "mni") for axis in "xyz"]
REGION = {"Description": "Marked volume in this region of the atlas.", "Units": "mL"}
LAST_NAME = "map"  # of the columns that name a row; the user's come after it


@dataclass(frozen=True)
class GroupScan:
    """A scan of the cohort.

    Attributes
    ----------
    folder : of the scan
    names : its subject, session, contrast, and scores as the cohort table names them
    user : the user's columns
    scores : its scores JSON, None if it failed
    summary : the content of the JSON, None if there is none any more
    """

    folder: Path
    names: dict[str, str]
    user: dict[str, str]
    scores: Path | None
    summary: ScanSummary | None

    @property
    def masks(self) -> Mapping[Method, MaskSummary]:
        """The findings of each map; none of a scan that failed or was not segmented."""
        return (self.summary.masks if self.summary else None) or {}


def write_group_tables(table: Path) -> tuple[Path, ...]:
    """Write the tables beside a cohort table, and their data dictionaries; return their paths.

    Without a scan that was segmented there are none, and earlier ones are removed. A file of another maker is left.

    Raises
    ------
    UnusableInput : if the cohort table cannot be read, or a file cannot be written.
    """
    known: dict[str, Columns] = json.loads(Path(__file__).with_name("data_dictionaries.json").read_text("utf-8"))
    known["burden"] |= {of.words: REGION | {"LongName": f"{of.lobe}: {of.words}"} for of in regions().values()}
    rows = read_csv(table, "a cohort table", ["scan", "scores", "subject", "contrast"])
    scans = [_scan(row, table.parent, {name for columns in known.values() for name in columns}) for row in rows]
    paths = [path for path in group_table_paths(table) if is_group_table(path) or not os.path.lexists(path)]
    if not any(scan.masks for scan in scans):
        for path in paths:
            path.unlink(missing_ok=True)
        return ()
    people = people_beside([scan.scores for scan in scans if scan.scores])
    joint: Joint = {path.parent / of.scores: (person, of.contrast) for path, person in people for of in person.scans}
    contents = {
        "findings": list(_finding_rows(scans, joint)),
        "people": [_person_row(group, joint) for group in _people(scans)],
        "burden": list(_burden_rows(scans)),
    }
    user: Columns = {name: {"Description": "Column of the table of scans."} for scan in scans for name in scan.user}
    with together():
        for path in paths:
            name = next(name for name in contents if path.name.startswith(name))
            first = itertools.takewhile(lambda of: of != LAST_NAME, known[name])
            columns = {of: known[name][of] for of in first} | {LAST_NAME: known[name][LAST_NAME]} | user | known[name]
            if path.suffix == ".tsv":
                write_atomically(path, tsv(columns, contents[name]))
            else:
                write_json(path, columns)
    return tuple(paths)


def _scan(row: Mapping[str, str], folder: Path, ours: set[str]) -> GroupScan:
    """Return the scan of a row of the cohort table in a folder; a user's column named as one of `ours` is renamed."""
    user, named = dict(user_columns(row)), SESSION.search(Path(row["scan"]).name)
    session = user.pop("session", "") or (named[1] if named else "")
    scores, summary = folder / row["scores"] if row["scores"] else None, None
    if scores is not None:
        with contextlib.suppress(UnusableInput):
            summary = read_summary(scores)
    names = {"subject": person_of(row["subject"]), "session": session} | {of: row[of] for of in ("contrast", "scores")}
    return GroupScan(Path(row["scan"]).parent, names, {given_name(of, ours): user[of] for of in user}, scores, summary)


def _masks(scans: Sequence[GroupScan]) -> Iterator[tuple[GroupScan, Method, MaskSummary, Row]]:
    """Yield each map of each scan that was segmented, with the cells that name it and the user's."""
    for scan in scans:
        for method, mask in scan.masks.items():
            yield scan, method, mask, {**scan.names, "map": method, **scan.user}


def _finding_rows(scans: Sequence[GroupScan], joint: Joint) -> Iterator[Row]:
    """Yield a row for each finding of each scan."""
    for scan, method, mask, names in _masks(scans):
        person, contrast = joint.get(scan.scores, (None, ""))
        merged = person.masks[method].findings if person and method in person.masks else []
        numbers = {of.finding: one.number for one in merged for of in one.seen if of.contrast == contrast}
        way = scan.summary.ras2mni_mm if scan.summary else None
        for finding in mask.findings:
            point = finding.peak_ras_mm
            mni = (np.array(way) @ (*point, 1.0))[:3].tolist() if way else [None] * 3
            row = finding.model_dump() | names | dict(zip(PEAK, (*point, *mni), strict=True))
            yield row | {"person_finding": numbers.get(finding.number)}


def _burden_rows(scans: Sequence[GroupScan]) -> Iterator[Row]:
    """Yield a row for each map of each scan, with the marked volume in each region."""
    regionless = dict.fromkeys((ELSEWHERE, *(of.words for of in regions().values())), 0.0)
    for _, _, mask, names in _masks(scans):
        yield names | ({} if mask.regions_ml is None else regionless | mask.regions_ml) | {"marked_ml": mask.volume_ml}


def _people(scans: Sequence[GroupScan]) -> list[list[GroupScan]]:
    """Return the scans of each person and session.

    Where two scans of a subject and session have one contrast, each folder is of another person.
    """
    people = [(scan.names["subject"], scan.names["session"]) for scan in scans]
    counts = Counter((*person, scan.names["contrast"]) for person, scan in zip(people, scans, strict=True))
    doubled = {key[:2] for key, count in counts.items() if count > 1}
    groups: dict[object, list[GroupScan]] = {}
    for person, scan in zip(people, scans, strict=True):
        groups.setdefault((person, scan.folder if person in doubled else None), []).append(scan)
    return list(groups.values())


def _person_row(group: Sequence[GroupScan], joint: Joint) -> Row:
    """Return the row of a person and session; a cell of the user's is that of the first scan that has one."""
    scored = [scan for scan in group if scan.masks]
    method = next((method for scan in scored for method in sorted(scan.masks, key="combi".__ne__)), None)
    masks = {scan.names["contrast"]: scan.masks[method] for scan in scored[::-1] if method and method in scan.masks}
    row: Row = {name: cell for scan in group[::-1] for name, cell in (scan.names | scan.user).items() if cell}
    for contrast, mask in masks.items():
        row |= {f"{contrast}_findings": len(mask.findings), f"{contrast}_marked_ml": mask.volume_ml}
    # those of all contrasts together, else those of the only scan
    person = next((joint[scan.scores][0].masks for scan in scored if scan.scores in joint), {})
    found = person.get(method) if method in person else next(iter(masks.values())) if len(masks) == 1 else None
    if found is not None:
        first = found.findings[0].words if found.findings else None
        row |= {"findings": len(found.findings), "marked_ml": found.volume_ml, "strongest": first}
    return row | {
        "map": method,
        "contrasts": ",".join(scan.names["contrast"] for scan in group if scan.summary),
        "failed": sum(scan.summary is None for scan in group),
        "joint": method in person,
        "warnings": sum(len(scan.summary.warnings) for scan in group if scan.summary),
    }
