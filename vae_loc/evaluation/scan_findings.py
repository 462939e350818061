"""The findings of one scan, against its lesions, at each rate."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vae_loc.evaluation.lesions import Lesions, are_found, by_size, overlap
from vae_loc.model.network import Model
from vae_loc.scoring.findings import known_findings, strength_for
from vae_loc.scoring.locate import Located
from vae_loc.scoring.score_options import DEFAULT_FALSE_FINDINGS, Segmentation
from vae_loc.scoring.segmentation import Numbers, segment
from vae_loc.vocabulary import BoolArray, Method

FINDING_RATES = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0)  # expected false findings per healthy scan
HEADLINE_RATE = DEFAULT_FALSE_FINDINGS  # what `segment` does by default


@dataclass(frozen=True)
class Findings:
    """The findings of one map of a scan, strongest first.

    Attributes
    ----------
    numbers : (I, J, K) on the scan's own grid, the number of each voxel's finding, 0 where none
    strengths : float64 (N,) of finding 1, 2, ...
    min_strengths : the strength that a finding must exceed at each rate, as `segment` demands it
    """

    numbers: Numbers
    strengths: tuple[float, ...]
    min_strengths: dict[float, float]

    def kept(self, rate: float) -> BoolArray:
        """Return the findings, bool (N,), that `segment` keeps at a rate."""
        return np.array([strength > self.min_strengths[rate] for strength in self.strengths], dtype=bool)


@dataclass(frozen=True)
class RateFigures:
    """The findings of a scan at one rate, against its lesions.

    Attributes
    ----------
    found : lesions found, by size class
    findings, false : how many findings there are, and how many of them share no voxel with the annotation
    dice : of all their voxels, inside the brain; None without an annotated voxel there
    """

    found: dict[str, int]
    findings: int
    false: int
    dice: float | None


@dataclass(frozen=True)
class ScanFindings:
    """The findings of one map of one scan, against its lesions.

    Attributes
    ----------
    lesions : how many there are, by size class
    rank : place of the first finding that shares a voxel with a lesion, 1 for the strongest; None if none does
    """

    subject: str
    lesions: dict[str, int]
    rank: int | None
    rates: dict[float, RateFigures]


def findings_of(located: Located, model: Model) -> dict[Method, Findings]:
    """Return the findings of each map of a scan up to the largest rate; none if the model has no healthy findings."""
    made = {}
    for method in located.signed_maps:
        known = known_findings(model.facts, method)
        if known is None:
            continue
        segmented = segment(located, model, method, Segmentation(false_findings=max(FINDING_RATES)))
        strengths = tuple(finding.strength for finding in segmented.findings)
        made[method] = Findings(segmented.numbers, strengths, {of: strength_for(known, of) for of in FINDING_RATES})
    return made


def scan_findings(
    findings: Findings, truth: BoolArray, brain: BoolArray, lesions: Lesions, subject: str
) -> ScanFindings:
    """Return the figures of findings against the lesions of a scan.

    Parameters
    ----------
    truth, brain : bool (I, J, K) on the scan's own grid
    lesions : what `find_lesions` returned for both
    """
    meeting = overlap(findings.numbers, len(findings.strengths), lesions)
    first = np.flatnonzero(meeting.covered.any(axis=0))
    annotated = int(np.count_nonzero(truth & brain))
    rates = {}
    for rate in findings.min_strengths:
        kept = findings.kept(rate)
        marked, true = int(meeting.sizes[kept].sum()), int(meeting.annotated[kept].sum())
        rates[rate] = RateFigures(
            found=by_size(lesions, are_found(meeting, kept, lesions)),
            findings=int(np.count_nonzero(kept)),
            false=int(np.count_nonzero(kept & (meeting.annotated == 0))),
            dice=2 * true / (annotated + marked) if annotated else None,
        )
    return ScanFindings(subject, by_size(lesions), int(first[0]) + 1 if len(first) else None, rates)


def count_findings(findings: Findings) -> dict[float, int]:
    """Return the number of findings at each rate."""
    return {rate: int(np.count_nonzero(findings.kept(rate))) for rate in findings.min_strengths}
