"""Boxes, depths and connected components of masks."""

from __future__ import annotations

import functools
import operator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vae_loc.vocabulary import BoolArray, FloatArray

if TYPE_CHECKING:
    import SimpleITK as sitk

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
    """Return the distance of each voxel of a mask to the nearest voxel outside it in mm, float32 (I, J, K), 0 outside.

    What lies beyond the array's border counts as outside.
    """
    depth: FloatArray = np.zeros(mask.shape, dtype=np.float32)
    if not mask.any():
        return depth
    box = bounding_box(mask)
    outside = np.pad(~mask[box], 1, constant_values=True)
    depth[box] = distance_mm(outside, spacing_mm)[1:-1, 1:-1, 1:-1]
    return depth


def distance_mm(mask: BoolArray, spacing_mm: float | tuple[float, float, float]) -> FloatArray:
    """Return the distance of each voxel to the nearest voxel of a mask in mm, float32 (I, J, K), 0 inside."""
    import SimpleITK as sitk

    image = _itk(mask)
    image.SetSpacing((spacing_mm,) * 3 if isinstance(spacing_mm, float | int) else spacing_mm)
    distance = sitk.SignedMaurerDistanceMapImageFilter()
    distance.SetNumberOfWorkUnits(1)
    distance.SquaredDistanceOff()
    distance.UseImageSpacingOn()
    outside: FloatArray = np.maximum(_array(distance.Execute(image)), np.float32(0))
    return outside


def largest_component(mask: BoolArray) -> BoolArray:
    """Return the largest of a mask's 6-connected components, bool (I, J, K)."""
    numbers = _labelled(mask, fully_connected=False)
    sizes = np.bincount(numbers.ravel())[1:]
    largest: BoolArray = numbers == 1 + np.argmax(sizes) if len(sizes) > 1 else mask.copy()
    return largest


def components(mask: BoolArray) -> NDArray[np.int32]:
    """Return the number of each voxel's 26-connected component, int32 (I, J, K), 0 outside the mask."""
    return _labelled(mask, fully_connected=True)


def without_thin_parts(mask: BoolArray) -> BoolArray:
    """Return a mask without what is thinner than three voxels along an axis: opened by a voxel and its 6 neighbours."""
    eroded = ~_with_neighbours(~np.pad(mask, 1))
    return _with_neighbours(eroded)[1:-1, 1:-1, 1:-1]


def surface_of(mask: BoolArray) -> BoolArray:
    """Return the voxels of a mask that have one of their 6 neighbours outside it, bool (I, J, K)."""
    outside = _with_neighbours(~np.pad(mask, 1))[1:-1, 1:-1, 1:-1]
    return mask & outside


def _with_neighbours(mask: BoolArray) -> BoolArray:
    """Return a mask with the 6 neighbours of its voxels."""
    wider = mask.copy()
    for axis in range(3):
        low, high = ((slice(None),) * axis + (part,) for part in (slice(None, -1), slice(1, None)))
        wider[low] |= mask[high]
        wider[high] |= mask[low]
    return wider


def filled(mask: BoolArray) -> BoolArray:
    """Return a mask with its holes: what no 6-connected path leads out of."""
    import SimpleITK as sitk

    result: BoolArray = _array(sitk.BinaryFillhole(_itk(np.pad(mask, 1))))[1:-1, 1:-1, 1:-1].astype(bool)
    return result


def _labelled(mask: BoolArray, *, fully_connected: bool) -> NDArray[np.int32]:
    """Return the numbers of the components in the order of their first voxels."""
    import SimpleITK as sitk

    numbers: NDArray[np.int32] = np.zeros(mask.shape, dtype=np.int32)
    if mask.any():
        box = bounding_box(mask)
        numbers[box] = _array(sitk.ConnectedComponent(_itk(mask[box]), fully_connected))
    return numbers


def _itk(mask: BoolArray) -> sitk.Image:
    import SimpleITK as sitk

    return sitk.GetImageFromArray(np.asfortranarray(mask).view(np.uint8).T)


def _array(image: sitk.Image) -> NDArray[Any]:
    import SimpleITK as sitk

    array: NDArray[Any] = sitk.GetArrayFromImage(image).T
    return array


def boxed_affine(mask: BoolArray, affine: NDArray[np.float64]) -> tuple[Box, NDArray[np.float64]]:
    """Return the mask's box with one voxel of margin, and the affine of the array cut to it."""
    box = bounding_box(mask, margin=(1, 1, 1))
    return box, cut_affine(affine, box)


def centroid_of(mask: BoolArray) -> NDArray[np.float64]:
    """Return the centroid of a mask (I, J, K) in voxels, float64 (3,)."""
    profiles = [np.count_nonzero(mask, axis=others) for others in ((1, 2), (0, 2), (0, 1))]
    return np.array([profile @ np.arange(len(profile)) / max(1, profile.sum()) for profile in profiles])


def share_outside(weight: FloatArray, to_pixel: NDArray[np.float64], side: int) -> float:
    """Return the share of a weight (I, J, K) that lies outside a cube of `side` pixels; indices to pixels (4, 4)."""

    def inside(*voxels: NDArray[np.float32]) -> BoolArray:
        """Return whether voxels, given by coordinates (N,) that broadcast, lie in the cube."""
        pixels = (sum(a * voxel for a, voxel in zip(row, voxels, strict=False)) + row[3] for row in to_pixel[:3])
        within = ((pixel >= -0.5) & (pixel <= side - 0.5) for pixel in pixels)
        return functools.reduce(operator.and_, within)

    sides = [np.arange(n, dtype=np.float32) for n in weight.shape]
    if inside(*np.ix_(*(axis[[0, -1]] for axis in sides))).all():  # then all between the corners is
        return 0.0
    return 1 - float(weight[inside(*np.ix_(*sides))].sum() / weight.sum())
