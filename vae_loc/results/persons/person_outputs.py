"""A run's scans -> one result for each person of whom several contrasts were scored (design [83])."""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from vae_loc.errors import WorkerDied, fault_of, printable
from vae_loc.results.cohort_table import Entry
from vae_loc.results.earlier_outputs import remove_stale, stated_files
from vae_loc.results.output_names import PERSON_KINDS, OutputNames, declared, page_of
from vae_loc.results.person_summary import (
    PersonMask,
    PersonScan,
    PersonSummary,
    person_tsv,
    read_person,
)
from vae_loc.results.persons.person_page import PersonMap, ScanOfPerson, person_page
from vae_loc.results.scan_summary import ScanSummary, read_summary, read_whole_summary
from vae_loc.scans.cases import Case
from vae_loc.scans.nifti import pair
from vae_loc.scans.own_outputs import files_of
from vae_loc.scans.people import Person, people_in
from vae_loc.scans.volume import write_volume
from vae_loc.scoring.finding_model import findings_words, words_of_maps
from vae_loc.scoring.merged_findings import (
    MAX_OFF_MM,
    Seen,
    described,
    first2other_mm,
    merged,
    on_grid_of,
    person_map,
    read_output,
    shares,
)
from vae_loc.scoring.score_options import RunOptions
from vae_loc.system.progress import BarMaker, no_bars
from vae_loc.system.reading import are_whole, sha256_of
from vae_loc.system.versions import own_version, versions
from vae_loc.system.worker_processes import default_jobs, in_processes, in_turn
from vae_loc.system.writing import refuse_inputs, together, write_atomically, write_json
from vae_loc.vocabulary import RESEARCH_ONLY, FloatArray, Method

MIN_CONTRASTS = 2


@dataclass(frozen=True)
class PersonResult:
    """The outcome of one person.

    Attributes
    ----------
    written : the files written, none if they were there already
    note : the findings, in one line
    error : why there is no result
    """

    name: str
    written: tuple[Path, ...] = ()
    note: str = ""
    error: str = ""

    def row(self) -> dict[str, object]:
        """Return the person's event for a log."""
        status = "failed" if self.error else "done" if self.written else "skipped"
        return {"person": self.name, "status": status, "error": self.error or None}


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


def write_persons(
    cases: Sequence[Case],
    entries: Sequence[Entry],
    names: OutputNames,
    run: RunOptions,
    *,
    new: bool = True,
    bars: BarMaker = no_bars,
) -> list[PersonResult]:
    """Write a result for each person of whom this run scored or found at least two contrasts.

    A result of an earlier run that is of other outputs than those that lie there is removed, or made again.

    Parameters
    ----------
    cases : all scans of the cohort, also those that other parts of it score: the part that ends last has all
    entries : the outcomes of the scans of this run
    new : whether people without a result get one
    """
    mine = {entry.case: entry for entry in entries}
    tasks = []
    for person in people_in(cases):
        if mine.keys().isdisjoint(person.cases.values()):
            continue
        scores = names.person_scores(person)
        earlier = read_person(scores)
        # a result of an earlier run is stale if it is of other outputs than those that lie there
        made_of = {scores.parent / of.scores: of.scores_sha256 for of in earlier.scans} if earlier else {}
        stale = not are_whole(made_of)
        if summaries := _summaries(person, mine, names) if run.persons and (new or stale) else {}:
            known = replace(person, cases={contrast: person.cases[contrast] for contrast in summaries})
            own_names = names.only(*(case.scan for case in known.cases.values()))
            tasks.append(PersonTask(known, summaries, own_names, run.skip_existing))
        elif stale:
            remove_stale(files_of(scores) | {scores: sha256_of(scores)}, {})
    processes = min(run.jobs or default_jobs(len(tasks)), len(tasks))
    engine = functools.partial(in_processes, jobs=processes, preload=__name__) if processes > 1 else in_turn
    advance = bars("merging", len(tasks)) if tasks else no_bars("merging", 0)
    results = {}
    for index, result in engine(merge_task, tasks):
        person = tasks[index].person
        results[index] = result or PersonResult(person.name, error=str(WorkerDied(person.first.scan)))
        advance(person.name)
    return [results[index] for index in range(len(tasks))]


def merge_task(task: PersonTask) -> PersonResult:
    """Merge the results of a person's scans; whatever goes wrong costs this person alone and is the result's error."""
    try:
        return merge_person(task)
    except Exception as error:  # as in `score_scan`: it must not cost the others
        fault, name = fault_of(task.person.first.scan, error), task.person.name
        return PersonResult(name, error=f"no result for {printable(name)}: {fault}")


def merge_person(task: PersonTask) -> PersonResult:
    """Write one result of the scans of a person: a map, a numbered mask and a table for each map, and a JSON.

    There is a page too if any of the scans has one.

    Raises
    ------
    UnusableInput : if an output of a scan cannot be read, or a file cannot be written.
    """
    person, names = task.person, task.names
    scores = names.person_scores(person)
    scans = _scans(person, task.summaries, names)
    earlier, older = read_person(scores), files_of(scores)
    stated = earlier and (earlier.versions.get("vae-loc"), earlier.scans)
    if task.skip_existing and stated == (own_version(), [scan.about for scan in scans]) and are_whole(older):
        return PersonResult(person.name)
    methods = list(scans[0].summary.masks or {})
    known = names.person_paths(person, methods)
    refuse_inputs(known, [path for case in person.cases.values() for path in pair(case.scan)])
    with together() as group:
        maps = {method: _write_method(person, scans, names, method) for method in methods}
        names.person_companions(person, methods)
        summary = PersonSummary(
            person=person.name,
            scans=[scan.about for scan in scans],
            masks={method: of.mask for method, of in maps.items()},
            warnings=_warnings(person, scans),
            versions=versions(),
            use=RESEARCH_ONLY,
        )
        if any(scan.summary.options.get("report") for scan in scans):
            write_atomically(page_of(scores), person_page(summary, scans, maps, scores.parent))
        files = stated_files(declared(group.digests(), known, person.first.scan), scores.parent)
        write_json(scores, summary.model_copy(update={"files": files}).model_dump(mode="json"))
    written = tuple(staged.path for staged in group.files)
    remove_stale(older, written)
    contrasts = ", ".join(person.cases)
    said = "; ".join(
        words_of_maps({m: findings_words(of.findings, of.false_findings) for m, of in summary.masks.items()})
    )
    return PersonResult(person.name, written, f"{printable(person.name)}, {contrasts} together: {said}")


def _summaries(person: Person, mine: Mapping[Case, Entry], names: OutputNames) -> dict[str, ScanSummary]:
    """Return the results of a person's scans, by contrast; those of other parts of the cohort only if alike.

    There are none unless at least two scans have masks, and the number of findings in healthy scans is known of all.
    """
    own = {c: entry.scores for c, case in person.cases.items() if (entry := mine.get(case)) and entry.scores}
    found = {contrast: read_summary(scores) for contrast, scores in own.items()}
    options = [summary.options for summary in found.values()]
    for contrast, case in person.cases.items():
        if case not in mine and (other := read_whole_summary(names.scores(case.scan))) and other.options in options:
            found[contrast] = other
    masks = [list((summary.masks or {}).values()) for summary in found.values()]
    calibrated = all(of and all(mask.false_findings is not None for mask in of) for of in masks)
    merges = calibrated and len(found) >= MIN_CONTRASTS
    return {contrast: found[contrast] for contrast in person.cases if contrast in found} if merges else {}


def _scans(person: Person, summaries: Mapping[str, ScanSummary], names: OutputNames) -> list[ScanOfPerson]:
    """Return the scans of a person, the first one's grid being the person's."""
    first = next(iter(summaries.values()))
    method = next(iter(first.masks or {}))
    brain = read_output(names.path(person.first.scan, method, "anomaly.nii.gz"))
    scans = []
    for contrast, summary in summaries.items():
        case = person.cases[contrast]
        scores = names.scores(case.scan)
        way_mm, off_mm = first2other_mm(brain, first.template2ras_mm, summary.template2ras_mm)
        about = PersonScan(
            contrast=contrast,
            scan=str(case.scan),
            scores=Path(os.path.relpath(scores, names.person_scores(person).parent)).as_posix(),
            scores_sha256=sha256_of(scores),
            off_mm=None if off_mm is None else round(off_mm, 2),
            through_template=off_mm is not None and off_mm > MAX_OFF_MM,
        )
        scans.append(ScanOfPerson(case, about, summary, way_mm))
    return scans


def _write_method(person: Person, scans: Sequence[ScanOfPerson], names: OutputNames, method: Method) -> PersonMap:
    """Write map, numbered mask and table of one map; return them."""
    rules = {scan.about.contrast: scan.mask(method) for scan in scans}
    at_most = shares({contrast: (of.false_findings or 1.0, of.told_by or 1) for contrast, of in rules.items()})
    grid = read_output(names.path(person.first.scan, method, "anomaly.nii.gz"))
    maps: list[FloatArray] = []
    seen: list[Seen] = []
    # bring the map of each scan to the person's grid, and the findings that are rare enough to count
    for scan in scans:
        own, numbers = (read_output(names.path(scan.case.scan, method, kind)) for kind in PERSON_KINDS[:2])
        maps.append(on_grid_of(grid, own.data, own.affine, scan.first2own_mm))
        for row in scan.mask(method).findings:
            if row.false_findings is not None and row.false_findings <= at_most[scan.about.contrast]:
                marked = (numbers.data == row.number).astype(np.float32)
                inside = on_grid_of(grid, marked, numbers.affine, scan.first2own_mm) > 0.5
                seen.append(Seen(scan.about.contrast, row, row.false_findings, inside))
    # join those that share a voxel, and number them
    heat = person_map(maps, [scan.mask(method).threshold for scan in scans])
    found = merged(seen, heat, len(scans))
    findings = [described(number, one, heat, grid) for number, one in enumerate(found, start=1)]
    numbered = np.zeros(heat.shape, dtype=np.uint8 if len(found) < 256 else np.uint16, order="F")
    for number, one in enumerate(found, start=1):
        numbered[one.inside] = number
    heat_file, numbers_file, table = (names.of_person(person, method, kind) for kind in PERSON_KINDS)
    write_volume(heat_file, heat, grid)
    write_volume(numbers_file, numbered, grid)
    write_atomically(table, person_tsv(findings))
    volume_ml = sum(finding.volume_ml for finding in findings)
    rate = sum(at_most.values())
    mask = PersonMask(false_findings=rate, per_scan=at_most, volume_ml=volume_ml, findings=findings)
    return PersonMap(replace(grid, data=heat), numbered, mask)


def _warnings(person: Person, scans: Sequence[ScanOfPerson]) -> list[str]:
    """Return the warnings of a person's scans, one line each."""
    said = [
        f"{scan.about.contrast} lies {scan.about.off_mm:.0f} mm from {scans[0].about.contrast}: "
        "the person moved, or a header is wrong; its map came through the mean brain"
        for scan in scans
        if scan.about.through_template
    ]
    said += [f"{scan.about.contrast}: {warning}" for scan in scans for warning in scan.summary.warnings]
    return said + [f"{case.scan.name} was left out: there is another scan of its contrast" for case in person.left_out]
