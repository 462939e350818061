"""The findings of one scan, made now or read from disk, and how they meet its lesions at each rate."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vae_loc.errors import UnusableInput
from vae_loc.evaluation.lesions import Lesions, are_found, by_size, overlap
from vae_loc.evaluation.record import Missing
from vae_loc.model.facts import HealthyFindings
from vae_loc.model.network import Model
from vae_loc.results.output_names import OutputNames
from vae_loc.results.scan_summary import MaskSummary, ScanSummary
from vae_loc.scans.volume import Volume, read_numbers
from vae_loc.scoring.findings import known_findings, strength_for
from vae_loc.scoring.locate import Located
from vae_loc.scoring.segmentation import DEFAULT_FALSE_FINDINGS, Numbers, Segmentation, segment
from vae_loc.vocabulary import BoolArray, Method

FINDING_RATES = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0)  # expected false findings per healthy scan
HEADLINE_RATE = DEFAULT_FALSE_FINDINGS  # what `segment` does by default

NO_HEALTHY_FINDINGS = "the model has no healthy findings; give it some: vae-loc calibrate MODEL --healthy SCANS"
NO_MAP = "no such map among those given (--maps)"
NOT_SEGMENTED = "none lie beside the maps (--maps); vae-loc segment writes them"


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
        """Return which findings, bool (N,), `segment` keeps at a rate."""
        return np.array([strength > self.min_strengths[rate] for strength in self.strengths], dtype=bool)


@dataclass(frozen=True)
class RateFigures:
    """How findings at one rate meet the lesions of a scan.

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
    """How the findings of one map meet the lesions of one scan.

    Attributes
    ----------
    lesions : how many there are, by size class
    rank : place of the first finding that shares a voxel with a lesion, 1 for the strongest; None if none does
    """

    subject: str
    lesions: dict[str, int]
    rank: int | None
    rates: dict[float, RateFigures]


def findings_of(located: Located, model: Model) -> dict[Method, Findings | Missing]:
    """Return the findings of each map of a scan, at the largest of `FINDING_RATES`."""
    return {method: _made(located, model, method) for method in located.signed_maps}


def written_findings(
    names: OutputNames, volume: Volume, summary: ScanSummary | None, model: Model, methods: Iterable[Method]
) -> dict[Method, Findings | Missing]:
    """Return the findings that `segment` wrote beside each map of a scan.

    Parameters
    ----------
    summary : the scores JSON of the scan; None if there is none
    methods : of which there are maps

    Raises
    ------
    UnusableInput : if a numbered mask cannot be read, or has other numbers than the JSON.
    """
    masks: Mapping[Method, MaskSummary] = (summary.masks if summary else None) or {}
    return {
        method: _read(names.path(volume.path, method, "dseg.nii.gz"), masks.get(method), volume, model, method)
        for method in methods
    }


def scan_findings(
    findings: Findings, truth: BoolArray, brain: BoolArray, lesions: Lesions, subject: str
) -> ScanFindings:
    """Return how findings meet the lesions of a scan.

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
    """Return how many findings there are at each rate."""
    return {rate: int(np.count_nonzero(findings.kept(rate))) for rate in findings.min_strengths}


def _made(located: Located, model: Model, method: Method) -> Findings | Missing:
    known = known_findings(model.facts, method)
    if known is None:
        return Missing(reason=NO_HEALTHY_FINDINGS)
    largest = max(FINDING_RATES)
    segmented = segment(located, model, method, Segmentation(false_findings=largest))
    strengths = tuple(finding.strength for finding in segmented.findings)
    return Findings(segmented.numbers, strengths, _min_strengths(known, largest))


def _read(path: Path, mask: MaskSummary | None, volume: Volume, model: Model, method: Method) -> Findings | Missing:
    known = known_findings(model.facts, method)
    if known is None:
        return Missing(reason=NO_HEALTHY_FINDINGS)
    if mask is None or not path.is_file():
        return Missing(reason=NOT_SEGMENTED)
    if mask.false_findings is None:
        return Missing(reason=f"the masks were made by {mask.threshold_from}, not by --false-findings; segment again")
    min_strengths = _min_strengths(known, mask.false_findings)
    if not min_strengths:
        least = min(FINDING_RATES)
        return Missing(reason=f"the masks were made at {mask.false_findings:g} false findings, below {least:g}")
    numbers = read_numbers(path, volume)
    if int(numbers.max()) != len(mask.findings):
        listed = len(mask.findings)
        raise UnusableInput(path, f"expected findings 1 to {listed} as listed, found {numbers.max()}; segment again")
    return Findings(numbers, tuple(finding.strength for finding in mask.findings), min_strengths)


def _min_strengths(known: HealthyFindings, largest: float) -> dict[float, float]:
    """Return the strength that a finding must exceed at each rate up to the `largest`."""
    return {rate: strength_for(known, rate) for rate in FINDING_RATES if rate <= largest}
