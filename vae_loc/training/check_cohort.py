"""A cohort at the door: every scan is tried before the first epoch, and all bad ones are named at once."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from vae_loc.errors import UnusableInput, VaeLocError, printable
from vae_loc.scans.cases import Case, person_of
from vae_loc.scans.volume import Volume

Try = Callable[[Case], Volume]  # prepares a case as training will, and returns its scan


@dataclass(frozen=True)
class CheckedCohort:
    """Cases that can be used, by person, and what is wrong with those that were left out."""

    cases: list[Case]
    skipped: list[str]


def check_cohort(
    cases: Sequence[Case], prepare: Try, *, skip_bad: bool, advance: Callable[[str], None]
) -> CheckedCohort:
    """Try every case; give scans of one person, and scans of the same voxels, the same subject.

    Raises
    ------
    UnusableInput : naming every scan that cannot be used, unless `skip_bad`.
    """
    good: list[Case] = []
    faults: list[VaeLocError] = []
    contents: dict[str, list[Case]] = {}
    for case in cases:
        try:
            scan = prepare(case)
            person = replace(case, subject=person_of(case.subject))
            good.append(person)
            contents.setdefault(_content(scan), []).append(person)
        except VaeLocError as error:
            faults.append(error)
        advance(case.subject)
    skipped = [str(fault) for fault in faults]
    if faults and not skip_bad:
        raise UnusableInput(
            "cohort",
            f"{len(faults)} of {len(cases)} scans cannot be used; mend them or give --skip-bad: " + "; ".join(skipped),
        )
    for fault in skipped:
        _log.warning("warning: left out: %s", fault)
    return CheckedCohort(_joined(good, list(contents.values())), skipped)


_log = logging.getLogger(__name__)


def _content(scan: Volume) -> str:
    """Return a hash of the voxels, whatever the file's type, name or compression."""
    return hashlib.sha256(repr(scan.data.shape).encode() + scan.data.tobytes(order="F")).hexdigest()


def _joined(cases: Sequence[Case], alike: Sequence[Sequence[Case]]) -> list[Case]:
    """Return the cases with one subject for all that are linked by a shared scan."""
    subject_of = {case.subject: case.subject for case in cases}
    for same in alike:
        names = {subject_of[case.subject] for case in same}
        if len(same) > 1:
            _log.warning("warning: the same scan, counted as one subject: %s", _named([case.scan for case in same]))
        subject_of = {subject: min(names) if now in names else now for subject, now in subject_of.items()}
    return [replace(case, subject=subject_of[case.subject]) for case in cases]


def _named(paths: Sequence[Path]) -> str:
    return ", ".join(printable(path) for path in paths)
