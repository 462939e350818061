"""The outputs of scans -> one result for each person of whom several contrasts were scored (design [83])."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vae_loc.errors import OurBug, OutOfMemory, VaeLocError, is_out_of_memory, printable
from vae_loc.results.finding_table import nothing_found
from vae_loc.results.output_names import PERSON_KINDS, OutputNames
from vae_loc.results.persons.common_grid import MAX_OFF_MM, Affine, first2other_mm, on_grid_of, read_output
from vae_loc.results.persons.merged_findings import Seen, merged, person_map
from vae_loc.results.persons.people import Person
from vae_loc.results.persons.person_page import page_of, person_page
from vae_loc.results.persons.person_summary import (
    PersonMask,
    PersonScan,
    PersonSummary,
    person_mask,
    person_tsv,
    read_person,
)
from vae_loc.results.scan_outputs import remove_stale
from vae_loc.results.scan_summary import ScanSummary
from vae_loc.scans.nifti import pair
from vae_loc.scans.own_outputs import files_of
from vae_loc.scans.volume import Volume, write_volume
from vae_loc.system.reading import are_whole, sha256_of
from vae_loc.system.versions import own_version, versions
from vae_loc.system.writing import refuse_inputs, together, write_atomically, write_json
from vae_loc.vocabulary import RESEARCH_ONLY, FloatArray, Method


@dataclass(frozen=True)
class PersonResult:
    """What became of one person.

    Attributes
    ----------
    written : the files written, none if they were there already
    note : what was found, in one line
    error : why there is no result
    """

    name: str
    written: tuple[Path, ...] = ()
    note: str = ""
    error: str = ""

    def row(self) -> dict[str, object]:
        """Return what a log says of the person."""
        status = "failed" if self.error else "done" if self.written else "skipped"
        return {"person": self.name, "status": status, "error": self.error or None}


@dataclass(frozen=True)
class StoredScan:
    """A scan of the person, its stored result, and the way from RAS mm of the first scan to its own."""

    about: PersonScan
    summary: ScanSummary
    first2own_mm: Affine


@dataclass(frozen=True)
class PersonTask:
    """A person whose scans' results are to be merged; it travels between processes.

    Attributes
    ----------
    summaries : by contrast, in the order of `person.cases`: at least two, whose masks hold calibrated findings
    skip_existing : leave a result alone that is whole and of the same outputs
    """

    person: Person
    summaries: Mapping[str, ScanSummary]
    names: OutputNames
    skip_existing: bool


def merge_task(task: PersonTask) -> PersonResult:
    """Merge the results of a person's scans; whatever goes wrong costs this person alone and is the result's error."""
    try:
        return merge_person(task)
    except VaeLocError as error:
        fault = error
    except Exception as error:  # as in `score_scan`: it must not cost the others
        fault = OutOfMemory() if is_out_of_memory(error) else OurBug(task.person.first.scan, error)
    return PersonResult(task.person.name, error=f"no result for {printable(task.person.name)}: {fault}")


def merge_person(task: PersonTask) -> PersonResult:
    """Write one result of the scans of a person: a map, a numbered mask and a table for each map, and a JSON.

    There is a page too if any of the scans has one.

    Raises
    ------
    UnusableInput : if an output of a scan cannot be read, or a file cannot be written.
    """
    person, names = task.person, task.names
    scores = names.person_scores(person)
    scans = _stored(person, task.summaries, names)
    older = files_of(scores)
    if task.skip_existing and _is_of(scores, [scan.about for scan in scans], older):
        return PersonResult(person.name)
    methods = list(scans[0].summary.masks or {})
    refuse_inputs(
        [names.of_person(person, method, kind) for method in methods for kind in PERSON_KINDS],
        [path for case in person.cases.values() for path in pair(case.scan)],
    )
    masks: dict[Method, PersonMask] = {}
    paths: list[Path] = []
    with together() as group:
        for method in methods:
            written, masks[method] = _write_method(person, scans, names, method)
            paths += written
        paths += names.person_companions(person, methods)
        summary = _summary(person, scans, masks)
        if any(scan.summary.options.get("report") for scan in scans):
            paths.append(page_of(scores))
            write_atomically(paths[-1], person_page(summary, scores.parent))
        files = {
            Path(os.path.relpath(staged.path, scores.parent)).as_posix(): sha256_of(Path(staged.temporary))
            for staged in group.files
        }
        summary = summary.model_copy(update={"files": files})
        write_json(scores, summary.model_dump(mode="json"))
    remove_stale(older, {*paths, scores})
    return PersonResult(person.name, (*paths, scores), _words(person, summary))


def remove_person(person: Person, names: OutputNames) -> None:
    """Remove what an earlier run left of a person, unless someone has changed it."""
    scores = names.person_scores(person)
    older = files_of(scores)
    if read_person(scores) is not None:
        remove_stale(older | {scores: sha256_of(scores)}, set())


def is_out_of_date(person: Person, names: OutputNames) -> bool:
    """Tell whether an earlier run left a result of a person that is of other outputs than those that lie there."""
    scores = names.person_scores(person)
    summary = read_person(scores)
    return summary is not None and not are_whole(
        {scores.parent / scan.scores: scan.scores_sha256 for scan in summary.scans}
    )


def _is_of(scores: Path, scans: Sequence[PersonScan], files: Mapping[Path, str]) -> bool:
    """Tell whether a person's result is whole and was made by this version of these outputs."""
    summary = read_person(scores)
    if summary is None or summary.versions.get("vae-loc") != own_version():
        return False
    return summary.scans == list(scans) and are_whole(files)


def _stored(person: Person, summaries: Mapping[str, ScanSummary], names: OutputNames) -> list[StoredScan]:
    """Return the scans of a person, the first one's grid being the person's."""
    first = next(iter(summaries))
    method = next(iter(summaries[first].masks or {}))
    brain = read_output(names.path(person.cases[first].scan, method, "anomaly.nii.gz"))
    scans = []
    for contrast, summary in summaries.items():
        scores = names.scores(person.cases[contrast].scan)
        way_mm, off_mm = first2other_mm(brain, _affine(summaries[first]), _affine(summary))
        about = PersonScan(
            contrast=contrast,
            scan=str(person.cases[contrast].scan),
            scores=Path(os.path.relpath(scores, names.person_scores(person).parent)).as_posix(),
            scores_sha256=sha256_of(scores),
            off_mm=None if off_mm is None else round(off_mm, 2),
            through_template=off_mm is not None and off_mm > MAX_OFF_MM,
        )
        scans.append(StoredScan(about, summary, way_mm))
    return scans


def _affine(summary: ScanSummary) -> Affine | None:
    return None if summary.template2ras_mm is None else np.array(summary.template2ras_mm)


def _write_method(
    person: Person, scans: Sequence[StoredScan], names: OutputNames, method: Method
) -> tuple[list[Path], PersonMask]:
    """Write map, numbered mask and table of one map; return the paths, and what the JSON says."""
    paths_of = [
        [names.path(person.cases[scan.about.contrast].scan, method, kind) for kind in ("anomaly.nii.gz", "dseg.nii.gz")]
        for scan in scans
    ]
    grid = read_output(paths_of[0][0])
    known = {scan.about.contrast: (scan.summary.masks or {})[method] for scan in scans}
    expected = min(mask.false_findings or 0.0 for mask in known.values())
    maps: list[FloatArray] = []
    seen: list[Seen] = []
    for scan, (map_file, numbers_file) in zip(scans, paths_of, strict=True):
        own, numbers = read_output(map_file), read_output(numbers_file)
        maps.append(on_grid_of(grid, own.data, own.affine, scan.first2own_mm))
        seen += _seen(scan, method, numbers, grid, expected / len(scans))
    heat = person_map(maps, [mask.threshold for mask in known.values()])
    found = merged(seen, heat, len(scans))
    rows = {contrast: mask.findings for contrast, mask in known.items()}
    mask = person_mask(found, rows, heat, grid, expected=expected)
    numbered = np.zeros(heat.shape, dtype=np.uint8 if len(found) < 256 else np.uint16, order="F")
    for number, one in enumerate(found, start=1):
        numbered[one.inside] = number
    paths = [names.of_person(person, method, kind) for kind in PERSON_KINDS]
    write_volume(paths[0], heat, grid)
    write_volume(paths[1], numbered, grid)
    write_atomically(paths[2], person_tsv(mask))
    return paths, mask


def _seen(scan: StoredScan, method: Method, numbers: Volume, grid: Volume, at_most: float) -> list[Seen]:
    """Return the findings of a scan that count for the person, on the person's grid."""
    found = []
    for row in (scan.summary.masks or {})[method].findings:
        if row.false_findings is not None and row.false_findings <= at_most:
            own = (numbers.data == row.number).astype(np.float32)
            inside = on_grid_of(grid, own, numbers.affine, scan.first2own_mm) > 0.5
            found.append(Seen(scan.about.contrast, row.number, row.strength, row.false_findings, inside))
    return found


def _summary(person: Person, scans: Sequence[StoredScan], masks: dict[Method, PersonMask]) -> PersonSummary:
    return PersonSummary(
        person=person.name,
        scans=[scan.about for scan in scans],
        masks=masks,
        warnings=_warnings(person, scans),
        versions=versions(),
        use=RESEARCH_ONLY,
    )


def _warnings(person: Person, scans: Sequence[StoredScan]) -> list[str]:
    """Return what the user should know of a person's scans, one line each."""
    said = [
        f"{scan.about.contrast} lies {scan.about.off_mm:.0f} mm from {scans[0].about.contrast}: "
        "the person moved, or a header is wrong; its map came through the mean brain"
        for scan in scans
        if scan.about.through_template
    ]
    said += [f"{scan.about.contrast}: {warning}" for scan in scans for warning in scan.summary.warnings]
    return said + [f"{case.scan.name} was left out: there is another scan of its contrast" for case in person.left_out]


def _words(person: Person, summary: PersonSummary) -> str:
    """Say in one line what was found in a person."""
    contrasts = ", ".join(scan.contrast for scan in summary.scans)
    said = []
    for method, mask in summary.masks.items():
        count = len(mask.findings)
        found = nothing_found(mask.false_findings)
        if count:
            found = f"{count} finding{'s' if count > 1 else ''}, strongest: {mask.findings[0].words}"
        said.append(found if len(summary.masks) == 1 else f"{method}: {found}")
    return f"{printable(person.name)}, {contrasts} together: {'; '.join(said)}"
