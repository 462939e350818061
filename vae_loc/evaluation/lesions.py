"""The findings of one scan against its annotated lesions, one by one: found, missed, false.

A finding is on a lesion where at least a tenth of its voxels are annotated; else it is false. A patient is found if a
finding is on a lesion; a lesion is found if findings that are on lesions cover a tenth of it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vae_loc.model.network import Model
from vae_loc.preprocessing.regions import Box, bounding_box, components
from vae_loc.scoring.findings import known_findings, strength_for
from vae_loc.scoring.locate import Located
from vae_loc.scoring.score_options import DEFAULT_FALSE_FINDINGS, Segmentation
from vae_loc.scoring.segmentation import ROUNDING, Numbers, segment
from vae_loc.vocabulary import BoolArray, Method

SPECK_MM3 = 100.0  # an annotated part below this is no lesion: `segment` marks nothing so small
SHARE = 0.1  # of a finding's voxels that are annotated, and of a lesion's that are found; one voxel would reward chance
SIZE_CLASSES_ML = (1.0, 10.0)  # borders: small, medium, large
CLASS_NAMES = ("0.1 to 1 ml", "1 to 10 ml", "10 ml and more")
FINDING_RATES = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0)  # expected false findings per healthy scan
HEADLINE_RATE = DEFAULT_FALSE_FINDINGS  # what `segment` does by default
VoxelCounts = NDArray[np.intp]


@dataclass(frozen=True)
class Lesions:
    """The annotated lesions of a scan, cut to the box that holds brain and annotation.

    Attributes
    ----------
    labels : int32 (I, J, K), the number of each voxel's lesion, 0 where none
    annotated : bool (I, J, K), the voxels of lesions and of specks
    sizes : int (M,), voxels of lesion 1, 2, ...
    specks : how many annotated parts are too small to be lesions
    """

    labels: NDArray[np.int32]
    annotated: BoolArray
    sizes: VoxelCounts
    specks: int
    voxel_mm3: float
    box: Box


@dataclass(frozen=True)
class Overlap:
    """The annotated voxels of the N findings of a scan.

    Attributes
    ----------
    covered : int (M, N), voxels that a lesion and a finding share
    annotated : int (N,), annotated voxels of each finding, specks included
    sizes : int (N,), voxels of each finding
    """

    covered: VoxelCounts
    annotated: VoxelCounts
    sizes: VoxelCounts

    @property
    def false(self) -> BoolArray:
        """The findings that are on no annotated part, bool (N,); those on specks alone are neither false nor true."""
        return ~reaches_share(self.annotated, self.sizes)

    @property
    def true(self) -> BoolArray:
        """The findings that are on a lesion, bool (N,)."""
        return self.covered.any(axis=0) & ~self.false


def reaches_share(some: VoxelCounts, of: VoxelCounts) -> BoolArray:
    """Return where `some` of the voxels are `SHARE` or more `of` all."""
    reached: BoolArray = some >= SHARE * of - ROUNDING
    return reached


def find_lesions(truth: BoolArray, brain: BoolArray, voxel_mm3: float) -> Lesions:
    """Return the lesions of an annotation: its 26-connected parts of `SPECK_MM3` and more, also outside the brain.

    Parameters
    ----------
    truth : bool (I, J, K), the annotated voxels
    brain : bool (I, J, K), with at least one voxel

    A smaller part is a speck, not a lesion: of the 13 parts of the five gliomas, 6 are (docs/measured/evaluation.md).
    Specks are not counted as lesions, but their voxels stay annotated: a finding is not false on
    them.
    """
    box = bounding_box(truth | brain)
    parts = components(truth[box])
    sizes = np.bincount(parts.ravel())
    large = sizes >= SPECK_MM3 / voxel_mm3 - ROUNDING
    large[0] = False  # the background
    number = np.where(large, np.cumsum(large), 0).astype(np.int32)
    specks = len(sizes) - 1 - int(np.count_nonzero(large))
    return Lesions(number[parts], parts > 0, sizes[large], specks, voxel_mm3, box)


def overlap(numbers: Numbers, count: int, lesions: Lesions) -> Overlap:
    """Return the voxels that the findings of a scan share with its lesions.

    Parameters
    ----------
    numbers : (I, J, K) on the scan's own grid, the number of each voxel's finding, 1 to `count`, 0 where none
    """
    own = numbers[lesions.box]
    inside = own > 0
    finding = own[inside].astype(np.intp) - 1
    shape = len(lesions.sizes) + 1, count
    pairs = np.bincount(lesions.labels[inside] * count + finding, minlength=shape[0] * shape[1]).reshape(shape)
    annotated = np.bincount(finding[lesions.annotated[inside]], minlength=count)
    return Overlap(pairs[1:], annotated, pairs.sum(axis=0))


def are_found(meeting: Overlap, kept: BoolArray, lesions: Lesions) -> BoolArray:
    """Return the lesions found, bool (M,), by those of the `kept` findings, bool (N,), that are on a lesion."""
    return reaches_share(meeting.covered[:, kept & meeting.true].sum(axis=1), lesions.sizes)


def by_size(lesions: Lesions, chosen: BoolArray | None = None) -> dict[str, int]:
    """Return the number of lesions in each of `CLASS_NAMES`; of those `chosen`, bool (M,), if given."""
    classes = np.digitize(lesions.sizes * lesions.voxel_mm3 / 1000, SIZE_CLASSES_ML)
    counts = np.bincount(classes if chosen is None else classes[chosen], minlength=len(CLASS_NAMES))
    return dict(zip(CLASS_NAMES, counts.tolist(), strict=True))


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
    true, false : how many findings are on a lesion, and how many on nothing annotated
    dice : of all their voxels, inside the brain; None without an annotated voxel there
    """

    found: dict[str, int]
    true: int
    false: int
    dice: float | None


@dataclass(frozen=True)
class ScanFindings:
    """The findings of one map of one scan, against its lesions.

    Attributes
    ----------
    lesions : how many there are, by size class
    rank : place of the first finding that is on a lesion, 1 for the strongest; None if none is
    """

    subject: str
    lesions: dict[str, int]
    rank: int | None
    rates: dict[float, RateFigures]


def findings_of(located: Located, model: Model) -> dict[Method, Findings]:
    """Return the findings of each map of a scan up to the largest rate; none if the model has no healthy findings."""
    made = {}
    for method in located.signed_maps:
        if (known := known_findings(model.facts, method)) is None:
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
    first = np.flatnonzero(meeting.true)
    annotated = int(np.count_nonzero(truth & brain))
    rates = {}
    for rate in findings.min_strengths:
        kept = findings.kept(rate)
        marked, true = int(meeting.sizes[kept].sum()), int(meeting.annotated[kept].sum())
        rates[rate] = RateFigures(
            found=by_size(lesions, are_found(meeting, kept, lesions)),
            true=int(np.count_nonzero(kept & meeting.true)),
            false=int(np.count_nonzero(kept & meeting.false)),
            dice=2 * true / (annotated + marked) if annotated else None,
        )
    return ScanFindings(subject, by_size(lesions), int(first[0]) + 1 if len(first) else None, rates)


def count_findings(findings: Findings) -> dict[float, int]:
    """Return the number of findings at each rate."""
    return {rate: int(np.count_nonzero(findings.kept(rate))) for rate in findings.min_strengths}
