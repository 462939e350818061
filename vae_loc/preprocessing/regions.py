"""Boxes, depths and connected components of masks."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from vae_loc.vocabulary import BoolArray, FloatArray

if TYPE_CHECKING:
    import SimpleITK as sitk

Box = tuple[slice, slice, slice]
NumberArray = TypeVar("NumberArray", FloatArray, NDArray[np.int32])


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

    image = itk_image(mask)
    image.SetSpacing((spacing_mm,) * 3 if isinstance(spacing_mm, float | int) else spacing_mm)
    distance = sitk.SignedMaurerDistanceMapImageFilter()
    distance.SetNumberOfWorkUnits(1)
    distance.SquaredDistanceOff()
    distance.UseImageSpacingOn()
    outside: FloatArray = np.maximum(sitk.GetArrayFromImage(distance.Execute(image)).T, np.float32(0))
    return outside


def largest_component(mask: BoolArray, *, fully_connected: bool = False) -> BoolArray:
    """Return the largest of a mask's components, bool (I, J, K); see `components`."""
    numbers = components(mask, fully_connected=fully_connected)
    sizes = np.bincount(numbers.ravel())[1:]
    largest: BoolArray = numbers == 1 + np.argmax(sizes) if len(sizes) > 1 else mask.copy()
    return largest


def components(mask: BoolArray, *, fully_connected: bool = True) -> NDArray[np.int32]:
    """Return the number of each voxel's component, int32 (I, J, K), 0 outside the mask, in order of first voxels.

    Parameters
    ----------
    fully_connected : whether voxels touch by edges and corners too (26 neighbours), or by faces alone (6)
    """
    import SimpleITK as sitk

    numbers: NDArray[np.int32] = np.zeros(mask.shape, dtype=np.int32)
    if mask.any():
        box = bounding_box(mask)
        numbers[box] = sitk.GetArrayFromImage(sitk.ConnectedComponent(itk_image(mask[box]), fully_connected)).T
    return numbers


def flooded_from(sources: NDArray[np.int32], heights: FloatArray) -> NDArray[np.int32]:
    """Return the source whose flood comes first to each voxel, int32 (I, J, K): Meyer's watershed, 26 neighbours.

    Parameters
    ----------
    sources : int32 (I, J, K), numbers from 1, 0 where there is none
    heights : float32 (I, J, K); the level of all floods rises together
    """
    import SimpleITK as sitk

    flood = sitk.MorphologicalWatershedFromMarkers(
        itk_image(heights), itk_image(sources), markWatershedLine=False, fullyConnected=True
    )
    reached: NDArray[np.int32] = sitk.GetArrayFromImage(flood).T
    return reached


def without_thin_parts(mask: BoolArray) -> BoolArray:
    """Return a mask without what is thinner than three voxels along an axis: opened by a voxel and its 6 neighbours."""
    eroded = ~with_neighbours(~np.pad(mask, 1))
    return with_neighbours(eroded)[1:-1, 1:-1, 1:-1]


def with_neighbours(mask: BoolArray) -> BoolArray:
    """Return a mask with its voxels' neighbours along each axis."""
    wider = mask.copy()
    for axis in range(mask.ndim):
        low, high = ((slice(None),) * axis + (part,) for part in (slice(None, -1), slice(1, None)))
        wider[low] |= mask[high]
        wider[high] |= mask[low]
    return wider


def highest_near(values: NumberArray, reach: int) -> NumberArray:
    """Return the greatest value of the cube around each voxel, which ends `reach` voxels from it or at the border."""
    for axis in range(values.ndim):
        wider = np.pad(values, [(reach, reach) if of == axis else (0, 0) for of in range(values.ndim)], mode="edge")
        values = np.lib.stride_tricks.sliding_window_view(wider, 2 * reach + 1, axis=axis).max(axis=-1)
    return values


def filled(mask: BoolArray) -> BoolArray:
    """Return a mask with its holes: what no 6-connected path leads out of."""
    outside = components(np.pad(~mask, 1, constant_values=True), fully_connected=False)
    result: BoolArray = (outside != outside[0, 0, 0])[1:-1, 1:-1, 1:-1]
    return result


def itk_image(array: BoolArray | NumberArray) -> sitk.Image:
    """Return an array (I, J, K) as an image of unit spacing from the origin, its axes in the same order."""
    import SimpleITK as sitk

    return sitk.GetImageFromArray(np.asfortranarray(array.view(np.uint8) if array.dtype == bool else array).T)


def boxed_affine(mask: BoolArray, affine: NDArray[np.float64]) -> tuple[Box, NDArray[np.float64]]:
    """Return the mask's box with one voxel of margin, and the affine, float64 (4, 4), of the array cut to it."""
    box, cut = bounding_box(mask, margin=(1, 1, 1)), affine.copy()
    cut[:3, 3] += affine[:3, :3] @ [span.start for span in box]
    return box, cut


def centroid_of(mask: BoolArray) -> NDArray[np.float64]:
    """Return the centroid of a mask (I, J, K) in voxels, float64 (3,)."""
    profiles = [np.count_nonzero(mask, axis=others) for others in ((1, 2), (0, 2), (0, 1))]
    return np.array([profile @ np.arange(len(profile)) / max(1, profile.sum()) for profile in profiles])


def share_outside(weight: FloatArray, to_pixel: NDArray[np.float64], side: int) -> float:
    """Return the share of a weight (I, J, K) that lies outside a cube of `side` pixels; indices to pixels (4, 4)."""
    i, j, k = np.ix_(*(np.arange(n, dtype=np.float32) for n in weight.shape))
    outside: BoolArray = np.zeros(weight.shape, dtype=bool)
    for a, b, c, shift in to_pixel[:3]:
        pixel = a * i + b * j + c * k + shift
        outside |= (pixel < -0.5) | (pixel > side - 0.5)
    return float(weight[outside].sum() / weight.sum())
