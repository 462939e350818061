"""Boxes, depths and connected components of masks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vae_loc.vocabulary import BoolArray, FloatArray

Box = tuple[slice, slice, slice]


def bounding_box(mask: BoolArray, margin: tuple[int, int, int] = (0, 0, 0)) -> Box:
    """Return the smallest box that holds a mask, wider by `margin` voxels on both sides of each axis.

    Parameters
    ----------
    mask : bool (I, J, K) with at least one True
    margin : voxels for each axis; the box stays inside the array

    >>> mask = np.zeros((5, 5, 5), dtype=bool)
    >>> mask[2, 1:3, 4] = True
    >>> bounding_box(mask, margin=(1, 1, 1))
    (slice(1, 4, None), slice(0, 4, None), slice(3, 5, None))
    """
    spans = []
    for axis, wider in enumerate(margin):
        used = np.flatnonzero(mask.any(axis=tuple({0, 1, 2} - {axis})))
        spans.append(slice(max(0, int(used[0]) - wider), min(mask.shape[axis], int(used[-1]) + 1 + wider)))
    return spans[0], spans[1], spans[2]


def cut_affine(affine: NDArray[np.float64], box: Box) -> NDArray[np.float64]:
    """Return the affine, float64 (4, 4) to RAS+ mm, of an array that was cut to `box`."""
    cut = affine.copy()
    cut[:3, 3] += affine[:3, :3] @ [span.start for span in box]
    return cut


def depth_mm(mask: BoolArray, spacing_mm: float | tuple[float, float, float]) -> FloatArray:
    """Return the distance of each voxel of a mask to the mask's surface in mm, float32 (I, J, K), 0 outside.

    The array's border counts as outside.
    """
    from scipy.ndimage import distance_transform_edt

    depth: FloatArray = distance_transform_edt(np.pad(mask, 1), sampling=spacing_mm)[1:-1, 1:-1, 1:-1]
    return depth


def largest_component(mask: BoolArray) -> BoolArray:
    """Return the largest of a mask's 6-connected components, bool (I, J, K)."""
    from scipy.ndimage import label

    labels, count = label(mask)
    largest: BoolArray = labels == 1 + np.argmax(np.bincount(labels.ravel())[1:]) if count > 1 else mask.copy()
    return largest


def components(mask: BoolArray) -> NDArray[np.int32]:
    """Return the number of each voxel's 26-connected component, int32 (I, J, K), 0 outside the mask."""
    from scipy.ndimage import label

    labels, _ = label(mask, structure=np.ones((3, 3, 3)))
    return np.asarray(labels, dtype=np.int32)
