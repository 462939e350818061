"""The check of a cohort before training: each scan is read and prepared once, all unusable ones are named together."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from vae_loc.errors import UnusableInput, VaeLocError, printable
from vae_loc.preprocessing.open_scan import PreparedScan, open_scan, prepare_scan
from vae_loc.scans.cases import Case, person_of
from vae_loc.system.array_store import ArrayStore
from vae_loc.vocabulary import BrainMask

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class HealthyCohort:
    """The healthy scans of a training.

    Attributes
    ----------
    cases : to learn from, and to hold out
    reference : further ones, of other scanners for example, for the healthy statistics alone
    brain_mask : for every scan; None takes the mask of each case, else `auto`
    skip_bad : whether scans that cannot be used are left out; else all are named, before the first epoch
    """

    cases: Sequence[Case]
    reference: Sequence[Case] = ()
    brain_mask: BrainMask | None = None
    skip_bad: bool = False

    @property
    def all_cases(self) -> list[Case]:
        """All of them."""
        return [*self.cases, *self.reference]


@dataclass(frozen=True)
class CheckedCohort:
    """The usable cases by person, further ones apart; their prepared scans; a line for each case that was left out."""

    cases: list[Case]
    reference: list[Case]
    scans: dict[Path, PreparedScan]
    skipped: list[str]


def check_cohort(
    healthy: HealthyCohort, *, image_size: int, store: ArrayStore, advance: Callable[[str], None]
) -> CheckedCohort:
    """Read and prepare all cases; scans of one person, and scans of the same voxels, get the same subject.

    Parameters
    ----------
    image_size : pixels of a slice's side, for which the scans are low-passed
    store : keeps the arrays of each scan

    Raises
    ------
    UnusableInput : naming each scan that cannot be used, unless `skip_bad`.
    """
    good: list[Case] = []
    scans: dict[Path, PreparedScan] = {}
    faults: list[str] = []
    alike: dict[str, list[Case]] = {}  # by content
    for case in healthy.all_cases:
        try:
            scan = open_scan(case, brain_mask=healthy.brain_mask)
            scans[case.scan] = prepare_scan(scan, image_size=image_size, store=store)
            person = replace(case, subject=person_of(case.subject))
            good.append(person)
            # the voxels, whatever the file's type, name or compression
            voxels = scan.volume.data
            content = hashlib.sha256(repr(voxels.shape).encode() + voxels.tobytes(order="F")).hexdigest()
            alike.setdefault(content, []).append(person)
        except VaeLocError as error:
            faults.append(str(error))
        advance(case.subject)
    if faults and not healthy.skip_bad:
        found = f"{len(faults)} of {len(healthy.all_cases)} scans cannot be used"
        raise UnusableInput("cohort", f"{found}; mend them or give --skip-bad: " + "; ".join(faults))
    for fault in faults:
        _log.warning("warning: left out: %s", fault)
    joined, further = _joined(good, list(alike.values())), {case.scan for case in healthy.reference}
    own = [case for case in joined if case.scan not in further]
    return CheckedCohort(own, [case for case in joined if case.scan in further], scans, faults)


def _joined(cases: Sequence[Case], alike: Sequence[Sequence[Case]]) -> list[Case]:
    """Return the cases with one subject for all that are linked by a shared scan."""
    subject_of = {case.subject: case.subject for case in cases}
    for same in alike:
        names = {subject_of[case.subject] for case in same}
        if len(same) > 1:
            listed = ", ".join(printable(case.scan) for case in same)
            _log.warning("warning: the same scan, counted as one subject: %s", listed)
        subject_of = {subject: min(names) if now in names else now for subject, now in subject_of.items()}
    return [replace(case, subject=subject_of[case.subject]) for case in cases]
