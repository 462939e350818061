"""Masks against annotated lesions, one by one: found, missed, false."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vae_loc.preprocessing.regions import Box, bounding_box, components
from vae_loc.scoring.segmentation import ROUNDING
from vae_loc.vocabulary import BoolArray

FOUND_SHARE = 0.1  # of a lesion's voxels that a mask must cover; one voxel would reward chance
SIZE_CLASSES_ML = (0.1, 1.0, 10.0)  # borders: tiny, small, medium, large
CLASS_NAMES = ("< 0.1 ml", "0.1 to 1 ml", "1 to 10 ml", "10 ml and more")


@dataclass(frozen=True)
class Lesions:
    """Annotated lesions of a scan (26-connected), cut to the box that holds brain and lesions.

    labels : int (I, J, K), 0 where none; sizes : voxels of lesion 1, 2, ...
    """

    labels: NDArray[np.int32]
    sizes: NDArray[np.int64]
    voxel_mm3: float
    box: Box


@dataclass(frozen=True)
class Match:
    """A mask against lesions: which were found, and how many of its components touch none."""

    found: BoolArray
    false_positives: int


def find_lesions(truth: BoolArray, brain: BoolArray, voxel_mm3: float) -> Lesions:
    """Return the lesions of an annotation, bool (I, J, K); those outside the brain count too."""
    box = bounding_box(truth | brain)
    labels = components(truth[box])
    return Lesions(labels, np.bincount(labels.ravel())[1:], voxel_mm3, box)


def match_lesions(mask: BoolArray, lesions: Lesions, *, min_size_mm3: float) -> Match:
    """Match a mask with the lesions of a scan.

    Parameters
    ----------
    mask : bool (I, J, K); its components below `min_size_mm3` are left out, as `segment` leaves them out
    lesions : what `find_lesions` returned for the same scan
    """
    numbers = components(mask[lesions.box])
    sizes = np.bincount(numbers.ravel())
    kept = sizes >= min_size_mm3 / lesions.voxel_mm3 - ROUNDING
    kept[0] = False
    marked = kept[numbers]
    covered = np.bincount(lesions.labels[marked], minlength=len(lesions.sizes) + 1)[1:]
    touching = np.unique(numbers[marked & (lesions.labels > 0)])
    return Match(covered >= np.maximum(1, FOUND_SHARE * lesions.sizes), int(kept.sum()) - len(touching))


def size_classes(lesions: Lesions) -> NDArray[np.intp]:
    """Return the index into `CLASS_NAMES` of each lesion, int (N,)."""
    return np.digitize(lesions.sizes * lesions.voxel_mm3 / 1000, SIZE_CLASSES_ML)
