"""A BIDS dataset -> a dataset of its derivatives, scan by scan; then one table of all (a BIDS App's two levels)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from vae_loc.errors import UnusableInput
from vae_loc.results.bids_derivatives import DESCRIPTION, Derivatives, write_description
from vae_loc.results.cohort_table import TABLE, Entry, facts_of, failure, write_tables
from vae_loc.results.groups.group_tables import write_group_tables
from vae_loc.results.output_names import refuse_clashes
from vae_loc.results.scan_summary import read_whole_summary
from vae_loc.results.score_cohort import Listener, Outcome, finished, score_cases
from vae_loc.scans.cases import Case, contrast_of, log_left_out, shard_of, sift
from vae_loc.scans.stated_contrast import stated_by_name
from vae_loc.scans.volume import stem
from vae_loc.system.reading import read_csv, read_text

if TYPE_CHECKING:
    from vae_loc.scoring.score_options import RunOptions, ScoreOptions
    from vae_loc.vocabulary import Polarity

PARTICIPANTS, PARTICIPANT = "participants.tsv", "participant_id"  # the table of a BIDS dataset, and its first column
BIDS_IGNORE = ".bidsignore"
BIDS_SCANS = ("sub-*/anat/sub-*", "sub-*/ses-*/anat/sub-*")
BIDS_SUFFIXES = {"t1": "T1w", "t2": "T2w", "flair": "FLAIR"}


def derivatives_of(raw: Path, folder: Path, *, validated: bool = True, polarity: Polarity = "any") -> Derivatives:
    """Return the names of the derivatives of a BIDS dataset.

    Parameters
    ----------
    raw : the dataset, which is only read
    folder : of the derivatives
    validated : whether `raw` must state that it is a BIDS dataset

    Raises
    ------
    UnusableInput : if it does not, or if the derivatives would lie among the scans.
    """
    if validated and not (raw / DESCRIPTION).is_file():  # no more is checked: the official validator does that
        raise UnusableInput(raw / DESCRIPTION, "found none: no BIDS dataset; --skip-bids-validation takes it for one")
    # no derivatives in the dataset they are of, also by a link, outside its `derivatives/`
    inside, dataset = folder.resolve(), raw.resolve()
    if inside.is_relative_to(dataset) and not inside.is_relative_to(dataset / "derivatives"):
        allowed = raw / "derivatives/vae-loc"
        raise UnusableInput(folder, f"lies in the dataset {raw}, which is only read; name {allowed}")
    return Derivatives(folder, raw, polarity=polarity)


def score_dataset(
    cases: list[Case], names: Derivatives, options: ScoreOptions, run: RunOptions, *, listener: Listener
) -> Outcome:
    """Score the scans of a dataset: the participant level.

    Raises
    ------
    UnusableInput : if nothing can be written; a scan's own faults are in its entry.
    UnusableModel : if the model named cannot be used.
    """
    refuse_clashes(cases, names, options)
    write_description(names)
    part = sift(shard_of(cases, *run.shard))
    if not part.cases:
        return Outcome([failure(case, part.faults[case]) for case in part.all_cases])
    return finished(score_cases(cases, part, names, options, run, listener=listener), listener)


def collect_dataset(cases: list[Case], names: Derivatives, *, contrast: str | None = None) -> Outcome:
    """Write one table and one page of all scans that were scored before: the group level.

    Without a `contrast` the scans are those of the contrasts that were scored: the others are no failures.

    Raises
    ------
    UnusableInput : if nothing can be written.
    """
    cases = with_participants(cases, names.raw)
    scored = {case.contrast for case in cases if names.scores(case.scan).is_file()}
    entries = []
    other = [case for case in cases if contrast is None and scored and case.contrast not in scored]
    other = sift(other).cases  # one that cannot be used has failed
    log_left_out(names.raw, [case.scan.name for case in other], "scans are of contrasts of which none was scored")
    for case in [case for case in cases if case not in other]:
        scores = names.scores(case.scan)
        if summary := read_whole_summary(scores):
            entries.append(Entry(case, "done", None, scores, facts_of(summary)))
        else:
            fault = UnusableInput(case.scan, f"expected whole outputs beside {scores.name}, found none; score it first")
            entries.append(failure(case, fault))
    write_description(names)
    table = names.folder / TABLE
    return Outcome(entries, write_tables(table, entries, ["combi"]) + write_group_tables(table))


def with_participants(cases: list[Case], raw: Path) -> list[Case]:
    """Return cases with the columns that the participants of their dataset have, if it has a table of them.

    Raises
    ------
    UnusableInput : if the table cannot be read.
    """
    table = raw / PARTICIPANTS
    rows = read_csv(table, "a table of participants", [PARTICIPANT]) if table.is_file() else []
    people = {row.pop(PARTICIPANT): tuple(row.items()) for row in rows}
    return [replace(case, columns=people.get(case.subject, ())) for case in cases]


def bids_cases(
    raw: Path, *, contrast: str | None, participants: Sequence[str] = (), sessions: Sequence[str] = ()
) -> list[Case]:
    """Return the T1w, T2w and FLAIR scans of a BIDS dataset, or those of one contrast.

    Parameters
    ----------
    participants, sessions : labels, with or without `sub-` and `ses-`; empty for all

    Raises
    ------
    UnusableInput : if a participant, or every scan, is missing.
    """
    lines = read_text(raw / BIDS_IGNORE, "patterns").splitlines() if (raw / BIDS_IGNORE).is_file() else []
    patterns = [line.strip().rstrip("/") for line in lines if line.strip() and not line.startswith(("#", "!"))]
    suffixes = list(BIDS_SUFFIXES.values()) if contrast is None else [BIDS_SUFFIXES[contrast]]
    paths = {path for pattern in BIDS_SCANS for path in raw.glob(f"{pattern}.nii*")}
    scans = [path for path in sorted(paths) if re.search(rf"_({'|'.join(suffixes)})\.nii(\.gz)?$", path.name)]
    wanted, inside = ({f"{kind}-{name.removeprefix(kind + '-')}" for name in names}
                      for kind, names in (("sub", participants), ("ses", sessions)))  # fmt: skip
    absent = sorted(wanted - {path.relative_to(raw).parts[0] for path in scans})
    if absent:
        raise UnusableInput(raw, f"expected a {' or '.join(suffixes)} of {', '.join(absent)}, found none")
    ignored = [path for path in scans if _is_ignored(path.relative_to(raw), patterns)]
    log_left_out(raw, [path.name for path in ignored], "files are in .bidsignore: left out")
    scans = [path for path in scans if path not in ignored]
    others = [path for path in scans if stated_by_name(stem(path)).other]
    log_left_out(raw, [path.name for path in others], "files are by their names no T1, T2 or FLAIR: left out")
    chosen = [
        path
        for path in scans
        if path not in others
        and (not wanted or path.relative_to(raw).parts[0] in wanted)
        and (not inside or path.relative_to(raw).parts[1] in inside)
    ]
    if not chosen:
        raise UnusableInput(raw, f"found no {' or '.join(suffixes)} in sub-*/[ses-*/]anat/; check --contrast")
    return [Case(path, path.relative_to(raw).parts[0], None, contrast_of(path)) for path in chosen]


def _is_ignored(inside: Path, patterns: Sequence[str]) -> bool:
    """Return whether a pattern of `.bidsignore` names a file or its folder; one with a slash starts at the dataset."""
    return any(
        place.match(bare) and ("**" in bare or "/" not in pattern or len(place.parts) == bare.count("/") + 1)
        for pattern in patterns
        for bare in [pattern.lstrip("/")]
        for place in (inside, *inside.parents[:-1])
    )
