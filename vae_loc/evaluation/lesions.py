"""Findings against annotated lesions, one by one: found, missed, false."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vae_loc.preprocessing.regions import Box, bounding_box, components
from vae_loc.scoring.segmentation import ROUNDING, Numbers
from vae_loc.vocabulary import BoolArray

SPECK_MM3 = 100.0  # an annotated part below this is no lesion: `segment` marks nothing so small
FOUND_SHARE = 0.1  # of a lesion's voxels that findings must cover; one voxel would reward chance
SIZE_CLASSES_ML = (1.0, 10.0)  # borders: small, medium, large
CLASS_NAMES = ("0.1 to 1 ml", "1 to 10 ml", "10 ml and more")
Counts = NDArray[np.intp]


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
    sizes: Counts
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

    covered: Counts
    annotated: Counts
    sizes: Counts


def find_lesions(truth: BoolArray, brain: BoolArray, voxel_mm3: float) -> Lesions:
    """Return the lesions of an annotation: its 26-connected parts of `SPECK_MM3` and more, also outside the brain.

    Parameters
    ----------
    truth : bool (I, J, K), the annotated voxels
    brain : bool (I, J, K), with at least one voxel

    A smaller part is a speck, not a lesion: of the 13 parts of the five gliomas, 6 are (docs/measured/evaluation.md).
    Specks are not counted as lesions, but their voxels stay annotated: a finding that shares one of them is not false.
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
    """Return the lesions found, bool (M,): the `kept` findings, bool (N,), cover together `FOUND_SHARE` or more."""
    covered = meeting.covered[:, kept].sum(axis=1)
    enough: BoolArray = covered >= FOUND_SHARE * lesions.sizes
    return enough


def by_size(lesions: Lesions, chosen: BoolArray | None = None) -> dict[str, int]:
    """Return the number of lesions in each of `CLASS_NAMES`; of those `chosen`, bool (M,), if given."""
    classes = np.digitize(lesions.sizes * lesions.voxel_mm3 / 1000, SIZE_CLASSES_ML)
    counts = np.bincount(classes if chosen is None else classes[chosen], minlength=len(CLASS_NAMES))
    return dict(zip(CLASS_NAMES, counts.tolist(), strict=True))
