"""A run's scans -> the results of the people whose scans they are, made after all scans were scored."""

from __future__ import annotations

import functools
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from vae_loc.errors import WorkerDied
from vae_loc.results.cohort_table import Entry
from vae_loc.results.output_names import OutputNames
from vae_loc.results.persons.people import CONTRASTS, Person, people_in
from vae_loc.results.persons.person_outputs import (
    PersonResult,
    PersonTask,
    is_out_of_date,
    merge_task,
    remove_person,
)
from vae_loc.results.scan_summary import ScanSummary, read_summary, read_whole_summary
from vae_loc.scans.cases import Case
from vae_loc.system.progress import BarMaker, no_bars
from vae_loc.system.worker_processes import default_jobs, in_processes, in_turn

MIN_CONTRASTS = 2
PRELOAD = "vae_loc.results.persons.person_outputs"  # what worker processes import once


def write_persons(
    cases: Sequence[Case],
    entries: Sequence[Entry],
    names: OutputNames,
    *,
    wanted: bool,
    skip_existing: bool = False,
    jobs: int | None = None,
    bars: BarMaker = no_bars,
) -> list[PersonResult]:
    """Write a result for each person of whom this run scored or found at least two contrasts.

    What an earlier run left of these people and this one does not make is removed.

    Parameters
    ----------
    cases : all scans of the cohort, also those that other parts of it score: the part that ends last has all
    entries : what became of the scans of this run
    wanted : whether there are to be such results
    skip_existing : leave those alone that are whole and of the same outputs
    jobs : worker processes; None takes as many as pay
    """
    mine = {entry.case: entry for entry in entries}
    tasks = []
    for person in people_in(cases):
        if not any(case in mine for case in person.cases.values()):
            continue
        summaries = _summaries(person, mine, names) if wanted else {}
        if len(summaries) >= MIN_CONTRASTS and _calibrated(summaries.values()):
            known = replace(person, cases={contrast: person.cases[contrast] for contrast in summaries})
            own_names = names.only(*(case.scan for case in known.cases.values()))
            tasks.append(PersonTask(known, summaries, own_names, skip_existing))
        elif not wanted or is_out_of_date(person, names):
            remove_person(person, names)
    return _merged(tasks, jobs, bars)


def _merged(tasks: Sequence[PersonTask], jobs: int | None, bars: BarMaker) -> list[PersonResult]:
    """Return what became of each person."""
    processes = min(jobs or default_jobs(len(tasks)), len(tasks))
    engine = functools.partial(in_processes, jobs=processes, preload=PRELOAD) if processes > 1 else in_turn
    advance = bars("merging", len(tasks)) if tasks else None
    results = {}
    for index, result in engine(merge_task, tasks):
        name = tasks[index].person.name
        results[index] = result or PersonResult(name, error=str(WorkerDied(tasks[index].person.first.scan)))
        if advance is not None:
            advance(name)
    return [results[index] for index in range(len(tasks))]


def _summaries(person: Person, mine: Mapping[Case, Entry], names: OutputNames) -> dict[str, ScanSummary]:
    """Return what the scans of a person left, by contrast; those of other parts of the cohort only if alike."""
    own = {c: entry.scores for c, case in person.cases.items() if (entry := mine.get(case)) and entry.scores}
    found = {contrast: read_summary(scores) for contrast, scores in own.items()}
    options = [summary.options for summary in found.values()]
    for contrast, case in person.cases.items():
        if case not in mine and (other := read_whole_summary(names.scores(case.scan))) and other.options in options:
            found[contrast] = other
    return {contrast: found[contrast] for contrast in CONTRASTS if contrast in found}


def _calibrated(summaries: Collection[ScanSummary]) -> bool:
    """Tell whether all masks hold findings whose number in healthy scans is known; those of a threshold do not."""
    return all(
        summary.masks and all(mask.false_findings is not None for mask in summary.masks.values())
        for summary in summaries
    )
