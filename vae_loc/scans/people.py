"""Cases -> people: the scans of one subject and session that differ in contrast."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vae_loc.scans.cases import Case, contrast_of, subject_of, unique_names
from vae_loc.scans.stated_contrast import CONTRASTS
from vae_loc.scans.volume import stem

BIDS_SESSION = re.compile(r"(sub-[A-Za-z0-9]+(?:_ses-[A-Za-z0-9]+)?)(?=_)")


@dataclass(frozen=True)
class Person:
    """One subject in one session.

    Attributes
    ----------
    name : what the names of the person's outputs begin with, unique among all people of a run
    cases : by contrast, one scan each, in the order of `CONTRASTS`
    left_out : further scans of a contrast that the person has already
    """

    name: str
    cases: dict[str, Case]
    left_out: tuple[Case, ...] = ()

    @property
    def first(self) -> Case:
        """The scan whose grid the person's result has."""
        return next(iter(self.cases.values()))


def people_in(cases: Sequence[Case]) -> list[Person]:
    """Return the people of a run, also those with one scan, in the order of their first scans.

    Scans are of one person if they lie in one folder and have the same BIDS subject and session, or the same file name
    up to its last part, which names the contrast. A table that states the contrast joins scans by its subject, in
    whatever folders they lie. A scan whose name and table say no contrast is of nobody.

    >>> folder = Path("scans")
    >>> scans = [folder / name for name in ("p1_flair.nii", "p1_t1.nii", "p2_t1.nii", "p1_2.nii")]
    >>> people = people_in([Case(scan, subject_of(scan), None) for scan in scans])
    >>> [(person.name, list(person.cases)) for person in people]
    [('p1', ['t1', 'flair']), ('p2', ['t1'])]
    """
    sessions: dict[Path, dict[str, list[Case]]] = {}
    for case in cases:
        contrast = case.contrast or contrast_of(case.scan)
        if contrast not in CONTRASTS:
            continue
        # the scans of one person share a key, the path of a file that need not exist
        key = case.scan.parent / f"{subject_of(case.scan)}.nii"
        if bids := BIDS_SESSION.match(stem(case.scan)):
            key = case.scan.parent / f"{bids[1]}.nii"
        elif case.contrast is not None:  # a table states it
            key = Path(f"{case.subject}.nii")
        sessions.setdefault(key, {name: [] for name in CONTRASTS})[contrast].append(case)
    names = unique_names(list(sessions))
    people = []
    for session, scans in sessions.items():
        left_out = tuple(case for of in scans.values() for case in of[1:])
        people.append(Person(names[session], {contrast: of[0] for contrast, of in scans.items() if of}, left_out))
    return people
