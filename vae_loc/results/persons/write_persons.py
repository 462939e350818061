"""A run's scans -> the results of the people whose scans they are, made after all scans were scored."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from vae_loc.errors import UnusableInput, printable
from vae_loc.results.cohort_table import Entry
from vae_loc.results.output_names import OutputNames
from vae_loc.results.persons.people import CONTRASTS, Person, people_in
from vae_loc.results.persons.person_outputs import PersonResult, is_out_of_date, merge_person, remove_person
from vae_loc.results.scan_summary import ScanSummary, read_summary, read_whole_summary
from vae_loc.scans.cases import Case

MIN_CONTRASTS = 2


def write_persons(
    cases: Sequence[Case], entries: Sequence[Entry], names: OutputNames, *, wanted: bool, skip_existing: bool
) -> list[PersonResult]:
    """Write a result for each person of whom this run scored or found at least two contrasts.

    What an earlier run left of these people and this one does not make is removed.

    Parameters
    ----------
    cases : all scans of the cohort, also those that other parts of it score: the part that ends last has all
    entries : what became of the scans of this run
    wanted : whether there are to be such results
    skip_existing : leave those alone that are whole and of the same outputs
    """
    mine = {entry.case: entry for entry in entries}
    results = []
    for person in people_in(cases):
        if not any(case in mine for case in person.cases.values()):
            continue
        if not wanted:
            remove_person(person, names)
            continue
        summaries = _summaries(person, mine, names)
        if len(summaries) >= MIN_CONTRASTS and _calibrated(summaries.values()):
            known = replace(person, cases={contrast: person.cases[contrast] for contrast in summaries})
            results.append(_result(known, summaries, names, skip_existing=skip_existing))
        elif is_out_of_date(person, names):
            remove_person(person, names)
    return results


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


def _result(
    person: Person, summaries: Mapping[str, ScanSummary], names: OutputNames, *, skip_existing: bool
) -> PersonResult:
    """Return the result of a person; what goes wrong costs this person alone and is its error."""
    try:
        return merge_person(person, summaries, names, skip_existing=skip_existing)
    except UnusableInput as error:
        return PersonResult(person.name, error=f"no result for {printable(person.name)}: {error}")
