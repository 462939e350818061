"""Arrays from one grid to another: means of blocks of voxels, a Gaussian low-pass, linear interpolation by ITK."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vae_loc.preprocessing.regions import Box, bounding_box, itk_image
from vae_loc.vocabulary import BoolArray, FloatArray

FWHM_PER_SIGMA = 2.3548  # of a Gaussian
CUT_SIGMAS = 3.0  # where a Gaussian is cut
BLOCK_MM = 2.0  # the resolution of the scans that the shipped models learned from


@dataclass(frozen=True)
class Grid:
    """A box of voxels in space: shape (I, J, K), affine (4, 4) to RAS+ mm, nominal edge of a voxel in mm."""

    shape: tuple[int, int, int]
    affine: NDArray[np.float64]
    pixel_mm: float


def lowpass_sigmas(spacing_mm: tuple[float, ...], pixel_mm: float) -> tuple[float, ...]:
    """Return the sigmas in voxels that bring a resolution of one voxel to one of `pixel_mm` (FWHM)."""
    fwhm_mm = [np.sqrt(max(0.0, pixel_mm**2 - s**2)) for s in spacing_mm]
    return tuple(float(f / FWHM_PER_SIGMA / s) for f, s in zip(fwhm_mm, spacing_mm, strict=True))


def low_passed(values: FloatArray, sigmas: tuple[float, ...]) -> FloatArray:
    """Smooth an array (I, J, K) by a Gaussian of these sigmas in voxels; it fades to zero outside."""
    first, second, third = (gaussian(n, sigma) for n, sigma in zip(values.shape, sigmas, strict=True))
    along_first = (first @ values.reshape(len(values), -1)).reshape(values.shape)
    result: FloatArray = np.matmul(second, along_first) @ third.T
    return result


@functools.lru_cache(maxsize=16)
def gaussian(count: int, sigma: float) -> FloatArray:
    """Return the matrix (count, count) that smooths a line by a Gaussian cut at `CUT_SIGMAS`, float32."""
    reach = int(CUT_SIGMAS * sigma + 0.5)
    offsets = np.arange(-reach, reach + 1)
    weights = np.exp(-0.5 * (offsets / max(sigma, 1e-9)) ** 2)
    distance = np.abs(np.subtract.outer(np.arange(count), np.arange(count)))
    kernel = np.append(weights[reach:] / weights.sum(), 0.0)
    matrix: FloatArray = kernel[np.minimum(distance, reach + 1)].astype(np.float32)
    return matrix


def resampled(values: FloatArray, affine: NDArray[np.float64], target: Grid) -> FloatArray:
    """Return `values` (I, J, K), voxel to mm by `affine`, on the grid `target`: linear interpolation, zero outside."""
    return interpolated(values, np.linalg.inv(affine) @ target.affine, target.shape)


def block_means(values: NDArray[Any], size: tuple[int, ...]) -> FloatArray:
    """Return the means, float32, of blocks of so many voxels along each axis of an array that they divide."""
    for axis, count in enumerate(size):
        parts = [values[(slice(None),) * axis + (slice(part, None, count),)] for part in range(count)]
        values = sum(parts[1:], start=parts[0])
    return values.astype(np.float32) * np.float32(1 / np.prod(size))


def doubled(values: FloatArray, mask: BoolArray) -> FloatArray:
    """Return an array (I, I, I) at half the pixel, (2I, 2I, 2I): linear interpolation among the voxels of `mask`."""
    result: FloatArray = np.zeros([2 * count for count in mask.shape], dtype=np.float32)
    if mask.any():
        box = bounding_box(mask, (1, 1, 1))
        weight = _between(mask[box].astype(np.float32))
        summed = _between(np.where(mask[box], values[box], np.float32(0)))
        np.divide(summed, weight, out=result[tuple(slice(2 * s.start, 2 * s.stop) for s in box)], where=weight > 0)
    return result


def doubled_mask(mask: BoolArray) -> BoolArray:
    """Return a mask (I, I, I) at half the pixel, (2I, 2I, 2I)."""
    return mask.repeat(2, 0).repeat(2, 1).repeat(2, 2)


def _between(values: FloatArray) -> FloatArray:
    """Interpolate at a quarter of a voxel before and after each voxel, along each axis."""
    for axis in reversed(range(values.ndim)):  # the first axis, whose rows are the longest, last
        before, after, others, all_but_last = (
            (slice(None),) * axis + (part,)
            for part in (slice(0, None, 2), slice(1, None, 2), slice(1, None), slice(None, -1))
        )
        wider = np.empty([n * (2 if of == axis else 1) for of, n in enumerate(values.shape)], dtype=np.float32)
        wider[before] = wider[after] = np.float32(0.75) * values
        quarter = np.float32(0.25) * values
        wider[before][others] += quarter[all_but_last]
        wider[after][all_but_last] += quarter[others]
        values = wider
    return values


def interpolated(
    values: FloatArray, target2source: NDArray[np.float64], shape: tuple[int, ...], *, nearest: bool = False
) -> FloatArray:
    """Linear interpolation of `values` at `target2source` (4, 4) of every index of `shape`; it fades to zero outside.

    Or the `nearest` value.

    By ITK: the values of `scipy.ndimage`, faster (docs/measured/speed.md). Indices stand in for its mm.
    """
    import SimpleITK as sitk

    # one voxel of zeros around, so that values fade outside
    to_padded = sitk.AffineTransform(3)
    to_padded.SetMatrix(target2source[:3, :3].ravel().tolist())
    to_padded.SetTranslation((target2source[:3, 3] + 1).tolist())
    resample = sitk.ResampleImageFilter()
    resample.SetNumberOfWorkUnits(1)
    if nearest:
        resample.SetInterpolator(sitk.sitkNearestNeighbor)
    resample.SetSize([int(n) for n in shape])
    resample.SetTransform(to_padded)
    result: FloatArray = sitk.GetArrayFromImage(resample.Execute(itk_image(np.pad(values, 1)))).T
    return result


@dataclass(frozen=True)
class Blocks:
    """A part of a volume, cut into blocks.

    Attributes
    ----------
    box : slices of the volume that the blocks cover, cut at its borders
    before, after : voxels along each axis by which the blocks reach beyond the volume
    size : voxels of a block along each axis
    """

    box: Box
    before: tuple[int, ...]
    after: tuple[int, ...]
    size: tuple[int, ...]

    def means(self, values: NDArray[np.float32] | NDArray[np.uint8]) -> FloatArray:
        """Return the mean of each block, float32, for values of the box; 0 stands for what lies beyond the volume."""
        # 16 bits hold the sum of ones of a block of the finest voxels taken, 0.05 mm
        joined: NDArray[Any] = values.astype(np.uint16) if values.dtype == np.uint8 else values
        if any(self.before) or any(self.after):
            joined = np.pad(joined, list(zip(self.before, self.after, strict=True)))
        return block_means(joined, self.size)

    def affine(self, affine: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the affine of the array of blocks, float64 (4, 4), for that of the volume."""
        first = np.array([span.start for span in self.box]) - self.before
        cut = affine.copy()
        cut[:3, 3] += affine[:3, :3] @ (first + (np.array(self.size) - 1) / 2)
        cut[:3, :3] *= self.size
        return cut

    def spacing_mm(self, spacing_mm: tuple[float, float, float]) -> tuple[float, ...]:
        """Return the edges of a block in mm."""
        return tuple(edge * size for edge, size in zip(spacing_mm, self.size, strict=True))


def blocks_around(
    box: Box, centre: NDArray[np.float64], shape: tuple[int, ...], spacing_mm: tuple[float, float, float]
) -> Blocks:
    """Return the blocks that cover a box and a rim of one block.

    Their borders are counted from the one nearest to `centre`, so that a flipped volume has the flipped blocks.

    Parameters
    ----------
    box : part of a volume of this `shape`
    centre : float64 (3,), in voxels, of the brain
    """
    spans, before, after, sizes = [], [], [], []
    for span, middle, count, edge in zip(box, centre, shape, spacing_mm, strict=True):
        size = max(1, int(BLOCK_MM / edge + 1e-3))
        border = int(np.floor(middle)) + 1  # first voxel of a block
        first = border + size * ((span.start - border) // size - 1)
        last = border + size * (-(-(span.stop - border) // size) + 1)
        spans.append(slice(max(first, 0), min(last, count)))
        before.append(max(-first, 0))
        after.append(max(last - count, 0))
        sizes.append(size)
    return Blocks((spans[0], spans[1], spans[2]), tuple(before), tuple(after), tuple(sizes))
