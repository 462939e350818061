"""A BIDS dataset -> a dataset of its derivatives, scan by scan; then one table of all (a BIDS App's two levels)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from vae_loc.results.bids_derivatives import Derivatives, refuse_inside, write_description
from vae_loc.results.cohort_page import write_page
from vae_loc.results.cohort_table import TABLE, failure, read_entries, write_table
from vae_loc.results.output_names import refuse_clashes
from vae_loc.results.score_cohort import (
    Listener,
    Outcome,
    RunOptions,
    finished,
    merge_persons,
    score_cases,
)
from vae_loc.scans.cases import Case, bids_cases, check_dataset, shard_of, sift

if TYPE_CHECKING:
    from vae_loc.scoring.score_options import ScoreOptions
    from vae_loc.vocabulary import Polarity


@dataclass(frozen=True)
class Dataset:
    """Which scans of a BIDS dataset, and where their derivatives go.

    Attributes
    ----------
    raw : the dataset, which is only read
    derivatives : the dataset to write
    contrast : t1, t2 or flair; None for all three, of the group level all that were scored
    participants, sessions : labels, with or without `sub-` and `ses-`; empty for all
    validated : whether `raw` must say that it is a BIDS dataset
    """

    raw: Path
    derivatives: Path
    contrast: str | None = None
    participants: tuple[str, ...] = ()
    sessions: tuple[str, ...] = ()
    validated: bool = True


def score_dataset(dataset: Dataset, options: ScoreOptions, run: RunOptions, *, listener: Listener) -> Outcome:
    """Score the scans of a dataset: the participant level.

    Raises
    ------
    UnusableInput : if there is no such scan, or nothing can be written; a scan's own faults are in its entry.
    UnusableModel : if the model named cannot be used.
    """
    cases, names = _prepared(dataset, options.polarity)
    inputs = [Path(path) for path in (options.brain_mask, options.model) if path]
    refuse_clashes(cases, names, options.methods, report=options.files.report, others=inputs)
    write_description(names)
    part = sift(shard_of(cases, *run.shard))
    if not part.cases:
        return Outcome([failure(case, part.faults[case]) for case in part.all_cases])
    entries = score_cases(part, names, options, run, listener=listener)
    persons = merge_persons(cases, entries, names, options, run, listener=listener)
    return finished(Outcome(entries, persons=persons), listener)


def collect_dataset(dataset: Dataset) -> Outcome:
    """Write one table and one page of all scans that were scored before: the group level.

    Raises
    ------
    UnusableInput : if there is no such scan, or nothing can be written.
    """
    cases, names = _prepared(dataset)
    scored = {case.contrast for case in cases if names.scores(case.scan).is_file()}
    if dataset.contrast is None and scored:  # a contrast that nobody asked for is no failure
        cases = [case for case in cases if case.contrast in scored]
    entries = read_entries(cases, names.scores)
    write_description(names)
    table = dataset.derivatives / TABLE
    write_table(table, entries, ["combi"])
    return Outcome(entries, (table, write_page(table)))


def _prepared(dataset: Dataset, polarity: Polarity = "any") -> tuple[list[Case], Derivatives]:
    """Return the cases of a dataset and the names of their outputs, which must not lie among the cases.

    Raises
    ------
    UnusableInput : if they would, or if there is no such scan.
    """
    if dataset.validated:
        check_dataset(dataset.raw)
    refuse_inside(dataset.derivatives, dataset.raw)
    cases = bids_cases(
        dataset.raw, contrast=dataset.contrast, participants=dataset.participants, sessions=dataset.sessions
    )
    return cases, Derivatives(dataset.derivatives, dataset.raw, polarity=polarity)
