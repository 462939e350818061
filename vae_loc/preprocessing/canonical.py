"""Volume -> canonical grid and intensities, and the way back (design [3], [4], [5], [25]).

The canonical grid is a RAS+ cube, 3 mm isotropic for 64 pixels (192 mm), centred on the brain and, where
the model has a template, aligned to it. Scaling and resampling use only voxels inside the mask, so a
whole head and its skull-stripped copy give the same slices.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from vae_loc.errors import UnusableInput
from vae_loc.preprocessing.blocks import blocks_around
from vae_loc.preprocessing.regions import Box, bounding_box, cut_affine, depth_mm, largest_component, without_thin_parts
from vae_loc.preprocessing.registration import Registration, align
from vae_loc.preprocessing.resampling import Grid, interpolated, low_passed, lowpass_sigmas, resampled
from vae_loc.scans.volume import Volume
from vae_loc.vocabulary import BoolArray, FloatArray

FIELD_OF_VIEW_MM = 192.0  # 64 pixels of 3 mm; holds an adult brain with room for pose errors
CLIP_SD = (-3.5, 6.0)  # robust standard deviations kept; T1 CSF is near -3, FLAIR lesions below 6
WIDE_CLIP_SD = (-12.0, 20.0)  # before resampling: one absurd voxel must not spread
BACKGROUND_SD = -4.0  # outside the brain: a value that no tissue has
SD_PER_IQR = 0.7413  # of a normal distribution
MIN_COVERAGE = 0.5  # share of brain under a canonical pixel from which on it counts as brain
MIN_WEIGHT = 1e-3  # of brain pixels around a voxel, below which it gets no score
MIN_BRAIN_VOXELS = 100  # fewer give no robust statistics
MAX_OUTSIDE_SHARE = 0.01  # of the brain beyond the field of view before the user is told
DARK_RIM_CONTRASTS = ("t1", "flair")  # CSF is dark: a wide mask shows by a dark rim
RIM_DEPTH_MM = 9.0  # how far from the mask's surface its CSF is looked for
RIM_DARK_SD = -1.75  # T1: 0.55 of the median; grey matter is above it
MIN_TIGHT_SHARE = 0.7  # of the mask; less is left only if something else than the rim was dark


@dataclass(frozen=True)
class CanonicalVolume:
    """A brain on the canonical grid.

    Attributes
    ----------
    data : float32 (I, I, I), robust standard deviations from the brain's median,
        `BACKGROUND_SD` outside the brain
    mask : bool (I, I, I), the brain without a dark rim
    grid : where it lies
    warnings : what the user should know, one line each
    """

    data: FloatArray
    mask: BoolArray
    grid: Grid
    warnings: tuple[str, ...] = ()


def to_canonical(
    volume: Volume,
    mask: BoolArray,
    *,
    image_size: int = 64,
    contrast: str = "t1",
    template: FloatArray | None = None,
    registration: Registration = "gauss-newton",
    grid: Grid | None = None,
) -> CanonicalVolume:
    """Bring a brain onto the canonical grid and intensity scale.

    z = (x - median) / (0.7413 IQR) over the brain, clipped to `CLIP_SD`; a Gaussian low-pass
    to the canonical resolution, normalised by the smoothed mask; linear interpolation.

    Parameters
    ----------
    contrast : where CSF is dark, a rim of it is taken off the mask, so that wide and tight masks agree
    template : float32 (I, I, I) to which the brain is aligned; None keeps the pose of the scanner
    registration : how it is aligned
    grid : where the brain is known to lie; then nothing is aligned

    Raises
    ------
    UnusableInput : if the brain is too small, or of one intensity.
    """
    brain = smooth_brain(volume, mask, image_size=image_size)
    canonical = canonical_brain(
        brain, image_size=image_size, contrast=contrast, template=template, registration=registration, grid=grid
    )
    return replace(canonical, warnings=canonical.warnings + _coverage_warnings(brain, canonical.grid))


@dataclass(frozen=True)
class SmoothBrain:
    """A brain in its bounding box on the scan's own grid, low-passed to the canonical resolution.

    Attributes
    ----------
    summed, weight : float32 (I, J, K), values x weight in robust standard deviations, and weight
    affine : float64 (4, 4), indices of the box to RAS+ mm
    centre_mm : float64 (3,), the centroid of the brain mask in RAS+ mm
    """

    summed: FloatArray
    weight: FloatArray
    affine: NDArray[np.float64]
    centre_mm: NDArray[np.float64]


def smooth_brain(volume: Volume, mask: BoolArray, *, image_size: int = 64) -> SmoothBrain:
    """Return the brain of a scan at the resolution of the canonical grid.

    Parameters
    ----------
    mask : bool (I, J, K), the brain; its missing voxels do not count
    image_size : pixels of the canonical grid's side, which set its resolution

    Raises
    ------
    UnusableInput : if the brain is too small, or of one intensity.
    """
    valid = mask if volume.missing is None else mask & ~volume.missing
    if (count := int(np.count_nonzero(valid))) < MIN_BRAIN_VOXELS:
        raise UnusableInput(
            volume.path,
            f"expected a brain of at least {MIN_BRAIN_VOXELS} voxels, the mask holds {count}; check the mask",
        )
    centroid = _centroid(mask)
    blocks = blocks_around(bounding_box(valid), centroid, volume.data.shape, volume.spacing_mm)
    inside = valid[blocks.box]
    summed, weight = blocks.means(volume.data[blocks.box] * inside), blocks.means(inside.view(np.uint8))
    values = np.divide(summed, weight, out=summed, where=weight > 0)
    median, scale = _median_and_scale(values[weight >= MIN_COVERAGE])
    if scale == 0:
        raise UnusableInput(volume.path, f"expected tissue contrast, the brain is {median:g} everywhere")
    summed = np.clip((values - np.float32(median)) * np.float32(1 / scale), *WIDE_CLIP_SD) * weight
    sigmas = lowpass_sigmas(blocks.spacing_mm(volume.spacing_mm), FIELD_OF_VIEW_MM / image_size)
    centre_mm = volume.affine[:3, :3] @ centroid + volume.affine[:3, 3]
    return SmoothBrain(low_passed(summed, sigmas), low_passed(weight, sigmas), blocks.affine(volume.affine), centre_mm)


def canonical_brain(
    brain: SmoothBrain,
    *,
    image_size: int = 64,
    contrast: str = "t1",
    template: FloatArray | None = None,
    registration: Registration = "gauss-newton",
    grid: Grid | None = None,
) -> CanonicalVolume:
    """Sample a brain on the canonical grid, aligned to a template where there is one; see `to_canonical`.

    Parameters
    ----------
    template : float32 (I, I, I), the mean of healthy brains; None keeps the pose of the scanner
    """
    known = grid is not None
    grid = grid or _grid_around(brain.centre_mm, image_size)
    values, mask = _sampled(brain, grid)
    warnings: tuple[str, ...] = ()
    if template is not None and not known:
        moved, fits = align(values, mask, template, grid.pixel_mm, registration=registration)
        if fits:
            grid = replace(grid, affine=_moved(grid, moved))
            values, mask = _sampled(brain, grid)
        else:
            warnings = ("could not be aligned to the model's mean brain; its own pose was kept",)
    if contrast in DARK_RIM_CONTRASTS:
        mask = _without_rim(values, mask, grid.pixel_mm)
    return CanonicalVolume(standardized(values, mask), mask, grid, warnings)


def standardized(values: FloatArray, mask: BoolArray) -> FloatArray:
    """Return robust standard deviations from the median of `mask`, clipped to `CLIP_SD`, float32 (I, J, K).

    Parameters
    ----------
    values : float32 (I, J, K), any unit
    mask : bool (I, J, K); outside it the result is `BACKGROUND_SD`
    """
    low, median, high = np.percentile(values[mask], (25, 50, 75))
    scale = SD_PER_IQR * (high - low) or float(np.std(values[mask])) or 1.0
    result: FloatArray = np.where(mask, np.clip((values - median) / scale, *CLIP_SD), BACKGROUND_SD).astype(np.float32)
    return result


def all_from_canonical(
    maps: Sequence[FloatArray], canonical: CanonicalVolume, affine: NDArray[np.float64], mask: BoolArray
) -> list[FloatArray]:
    """Bring maps from the canonical grid back onto the grid of a scan.

    Parameters
    ----------
    maps : float32 on `canonical.grid`; only values inside `canonical.mask` are used
    affine : float64 (4, 4), of the scan
    mask : bool (I, J, K) of the scan, where the maps may be non-zero

    Returns
    -------
    float32 (I, J, K) each: linear interpolation among brain pixels, zero outside the brain.
    """
    box, box_affine = _brain_box(mask, affine)
    voxel2pixel = np.linalg.inv(canonical.grid.affine) @ box_affine
    weight = canonical.mask.astype(np.float32)
    near_brain = interpolated(weight, voxel2pixel, mask[box].shape)
    inside = mask[box] & (near_brain > MIN_WEIGHT)
    on_grid = []
    for values in maps:
        result = np.zeros(mask.shape, dtype=np.float32, order="F")  # as NIfTI stores it
        summed = interpolated(values * weight, voxel2pixel, mask[box].shape)
        np.divide(summed, near_brain, out=result[box], where=inside)
        on_grid.append(result)
    return on_grid


def onto_grid(values: FloatArray, volume: Volume, mask: BoolArray, grid: Grid) -> FloatArray:
    """Bring `values` (I, J, K) of a volume's own grid onto `grid`: a low-pass, then linear; zero outside `mask`."""
    box, box_affine = _brain_box(mask, volume.affine)
    sigmas = lowpass_sigmas(volume.spacing_mm, grid.pixel_mm)
    return resampled(low_passed((values * mask)[box].astype(np.float32), sigmas), box_affine, grid)


def _sampled(brain: SmoothBrain, grid: Grid) -> tuple[FloatArray, BoolArray]:
    """Bring a brain onto `grid`, averaging brain voxels only: values and mask."""
    coverage = resampled(brain.weight, brain.affine, grid)
    summed = resampled(brain.summed, brain.affine, grid)
    mask = coverage >= MIN_COVERAGE
    result: FloatArray = np.zeros(grid.shape, dtype=np.float32)
    np.divide(summed, coverage, out=result, where=mask)
    return result, mask


def _median_and_scale(brain: FloatArray) -> tuple[float, float]:
    """Return median and robust standard deviation of a brain's intensities (N,); 0 if all are one."""
    if not brain.size:
        return 0.0, 0.0
    low, median, high = np.percentile(brain, (25, 50, 75))
    scale = SD_PER_IQR * (high - low) or float(np.std(np.clip(brain, *np.percentile(brain, (1, 99)))))
    return float(median), float(scale)


def _centroid(mask: BoolArray) -> NDArray[np.float64]:
    """Return the centroid of a mask in voxels, float64 (3,)."""
    profiles = [np.count_nonzero(mask, axis=others) for others in ((1, 2), (0, 2), (0, 1))]
    return np.array([profile @ np.arange(len(profile)) / max(1, profile.sum()) for profile in profiles])


def _grid_around(centre_mm: NDArray[np.float64], image_size: int) -> Grid:
    """Return the RAS+ cube centred on a point."""
    pixel = FIELD_OF_VIEW_MM / image_size
    affine = np.diag([pixel, pixel, pixel, 1.0])
    affine[:3, 3] = centre_mm - pixel * (image_size - 1) / 2
    return Grid((image_size,) * 3, affine, pixel)


def _moved(grid: Grid, template2brain: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the affine of a grid whose voxels lie where the template's do in this brain."""
    centring = np.diag([grid.pixel_mm] * 3 + [1.0])
    centring[:3, 3] = -grid.pixel_mm * (grid.shape[0] - 1) / 2
    result: NDArray[np.float64] = grid.affine @ np.linalg.inv(centring) @ template2brain @ centring
    return result


def _without_rim(values: FloatArray, mask: BoolArray, pixel_mm: float) -> BoolArray:
    """Return the mask without the dark voxels near its surface and without thin parts, in one piece."""
    if not mask.any():
        return mask
    dark = standardized(values, mask) < RIM_DARK_SD
    tight = largest_component(without_thin_parts(mask & ~(dark & (depth_mm(mask, pixel_mm) <= RIM_DEPTH_MM))))
    return tight if tight.sum() >= MIN_TIGHT_SHARE * mask.sum() else mask


def _coverage_warnings(brain: SmoothBrain, grid: Grid) -> tuple[str, ...]:
    """Return a warning if much of the brain lies beyond the field of view of the canonical grid."""
    to_pixel = np.linalg.inv(grid.affine) @ brain.affine

    def inside(*voxels: NDArray[np.float32]) -> BoolArray:
        """Tell which voxels, given by coordinates (N,) that broadcast, lie in the field of view."""
        pixels = (sum(a * voxel for a, voxel in zip(row, voxels, strict=False)) + row[3] for row in to_pixel[:3])
        within = ((pixel >= -0.5) & (pixel <= grid.shape[0] - 0.5) for pixel in pixels)
        return functools.reduce(operator.and_, within)

    sides = [np.arange(n, dtype=np.float32) for n in brain.weight.shape]
    if inside(*np.ix_(*(side[[0, -1]] for side in sides))).all():  # then all between the corners is
        return ()
    outside = 1 - float(brain.weight[inside(*np.ix_(*sides))].sum() / brain.weight.sum())
    if outside <= MAX_OUTSIDE_SHARE:
        return ()
    return (f"{outside:.0%} of the mask lies outside the {FIELD_OF_VIEW_MM:g} mm field of view and is not scored",)


def _brain_box(mask: BoolArray, affine: NDArray[np.float64]) -> tuple[Box, NDArray[np.float64]]:
    """Return the mask's box with one voxel of margin, and the affine of the array cut to it."""
    box = bounding_box(mask, margin=(1, 1, 1))
    return box, cut_affine(affine, box)
