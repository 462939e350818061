"""Volume -> canonical grid and intensities, and the way back (design [3], [4], [5], [25]).

The canonical grid is a RAS+ cube, 3 mm isotropic for 64 pixels (192 mm), centred on the brain and, where
the model has a template, aligned to it. Scaling and resampling use only voxels inside the mask, so a
whole head and its skull-stripped copy give the same slices. Small lesions are looked for at half the pixel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from vae_loc.errors import UnusableInput
from vae_loc.preprocessing.pose import grid_around, halved_grid, moved_grid
from vae_loc.preprocessing.regions import (
    bounding_box,
    boxed_affine,
    centroid_of,
    depth_mm,
    largest_component,
    share_outside,
    without_thin_parts,
)
from vae_loc.preprocessing.registration import align
from vae_loc.preprocessing.resampling import (
    Grid,
    blocks_around,
    doubled,
    doubled_mask,
    interpolated,
    low_passed,
    lowpass_sigmas,
    resampled,
)
from vae_loc.scans.volume import Volume
from vae_loc.vocabulary import BoolArray, FloatArray

FIELD_OF_VIEW_MM = 192.0  # 64 pixels of 3 mm; holds an adult brain with room for pose errors
CLIP_SD = (-3.5, 6.0)  # robust standard deviations kept; T1 CSF is near -3, FLAIR lesions below 6
WIDE_CLIP_SD = (-12.0, 20.0)  # before resampling: one absurd voxel must not spread
BACKGROUND_SD = -4.0  # outside the brain: a value that no tissue has
SD_PER_IQR = 0.7413  # of a normal distribution
MIN_COVERAGE = 0.5  # share of brain under a canonical pixel from which on it counts as brain
MIN_CORE = 0.75  # the same, that some pixel of any brain has
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
    fine : float32 (2I, 2I, 2I), the intensities at half the pixel, on their own robust scale; None where not needed
    """

    data: FloatArray
    mask: BoolArray
    grid: Grid
    warnings: tuple[str, ...] = ()
    fine: FloatArray | None = None

    @property
    def halved(self) -> CanonicalVolume:
        """The brain on the grid of half the pixel, which has the same mask."""
        mask = doubled_mask(self.mask)
        data = np.full(mask.shape, BACKGROUND_SD, dtype=np.float32) if self.fine is None else self.fine
        return CanonicalVolume(data, mask, halved_grid(self.grid))


@dataclass(frozen=True)
class SmoothBrain:
    """A brain in its bounding box on the scan's own grid, low-passed to the canonical resolution.

    Attributes
    ----------
    coarse : float32 (I, J, K) each, values x weight in robust standard deviations, and weight
    fine : the same, low-passed to half the canonical pixel
    affine : float64 (4, 4), indices of the box to RAS+ mm
    centre_mm : float64 (3,), the centroid of the brain mask in RAS+ mm
    image_size : pixels of the canonical grid's side, which set the resolution
    """

    coarse: tuple[FloatArray, ...]
    fine: tuple[FloatArray, ...]
    affine: NDArray[np.float64]
    centre_mm: NDArray[np.float64]
    image_size: int


def smooth_brain(volume: Volume, mask: BoolArray, *, image_size: int = 64) -> SmoothBrain:
    """Return the brain of a scan on its robust intensity scale, at the resolution of the canonical grid.

    z = (x - median) / (0.7413 IQR) over the brain; a Gaussian low-pass, normalised by the smoothed mask.

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
    # fine voxels are joined to blocks
    centroid = centroid_of(mask)
    blocks = blocks_around(bounding_box(valid), centroid, volume.data.shape, volume.spacing_mm)
    inside = valid[blocks.box]
    summed, weight = blocks.means(volume.data[blocks.box] * inside), blocks.means(inside.view(np.uint8))
    values = np.divide(summed, weight, out=summed, where=weight > 0)
    # robust standard deviations from the median of the brain
    tissue = values[weight >= min(MIN_COVERAGE, float(weight.max()))]
    darkest, low, median, high, brightest = np.percentile(tissue, (1, 25, 50, 75, 99))
    scale = float(SD_PER_IQR * (high - low) or np.std(np.clip(tissue, darkest, brightest)))
    if scale == 0:
        raise UnusableInput(volume.path, f"expected tissue contrast, the brain is {median:g} everywhere")
    summed = np.clip((values - np.float32(median)) * np.float32(1 / scale), *WIDE_CLIP_SD) * weight
    # low-passed to the canonical pixel, and to half of it
    parts = []
    for size in (image_size, 2 * image_size):
        sigmas = lowpass_sigmas(blocks.spacing_mm(volume.spacing_mm), FIELD_OF_VIEW_MM / size)
        parts.append(tuple(low_passed(values, sigmas) if any(sigmas) else values for values in (summed, weight)))
    if parts[0][1].max() < MIN_CORE:
        raise UnusableInput(volume.path, "expected a brain, the mask is a few millimetres thin; check the mask")
    centre_mm = volume.affine[:3, :3] @ centroid + volume.affine[:3, 3]
    return SmoothBrain(parts[0], parts[1], blocks.affine(volume.affine), centre_mm, image_size)


def to_canonical(
    brain: SmoothBrain, *, contrast: str = "t1", template: FloatArray | None = None, grid: Grid | None = None
) -> CanonicalVolume:
    """Return a brain on the canonical grid by linear interpolation, standardized there; without `fine`.

    Parameters
    ----------
    contrast : where CSF is dark, a rim of it is taken off the mask, so that wide and tight masks agree
    template : float32 (I, I, I), the mean of healthy brains to which it is aligned; None keeps the pose of the scanner
    grid : where the brain is known to lie; then nothing is aligned
    """
    warnings: list[str] = []
    place = grid or grid_around(brain.centre_mm, brain.image_size, FIELD_OF_VIEW_MM)
    values, mask = _sampled(brain, place)
    if template is not None and grid is None:
        moved, fits = align(values, mask, template, place.pixel_mm)
        if fits:
            place = moved_grid(place, moved)
            values, mask = _sampled(brain, place)
        else:
            warnings.append("could not be aligned to the model's mean brain; its own pose was kept")
    outside = share_outside(brain.coarse[1], np.linalg.inv(place.affine) @ brain.affine, brain.image_size)
    if outside > MAX_OUTSIDE_SHARE:
        field = f"the {FIELD_OF_VIEW_MM:g} mm field of view"
        warnings.append(f"{outside:.0%} of the mask lies outside {field} and is not scored")
    if contrast in DARK_RIM_CONTRASTS:
        mask = _without_rim(values, mask, place.pixel_mm)
    return CanonicalVolume(standardized(values, mask), mask, place, tuple(warnings))


def with_fine(canonical: CanonicalVolume, brain: SmoothBrain) -> CanonicalVolume:
    """Return a brain with its intensities at half the pixel, of which the canonical ones fill what is not covered."""
    halved = canonical.halved
    box, box_affine = boxed_affine(halved.mask, halved.grid.affine)
    inside = halved.mask[box]
    # what the brain's own voxels cover at half the pixel
    place = Grid(inside.shape, box_affine, halved.grid.pixel_mm)
    summed, coverage = (resampled(values, brain.affine, place) for values in brain.fine)
    known = inside & (coverage >= MIN_COVERAGE)
    values = standardized(np.divide(summed, coverage, out=np.zeros_like(summed), where=known), known)
    # elsewhere the canonical intensities, interpolated
    fine = np.full(halved.mask.shape, BACKGROUND_SD, dtype=np.float32)
    np.copyto(fine[box], np.where(known, values, doubled(canonical.data, canonical.mask)[box]), where=inside)
    return replace(canonical, fine=fine)


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
    maps : float32 on `canonical.grid`, or at half its pixel; only values inside `canonical.mask` are used
    affine : float64 (4, 4), of the scan
    mask : bool (I, J, K) of the scan, where the maps may be non-zero

    Returns
    -------
    float32 (I, J, K) each: linear interpolation among brain pixels, zero outside the brain.
    """
    # only the box of the brain is interpolated
    box, box_affine = boxed_affine(mask, affine)
    frame = canonical if maps[0].shape == canonical.mask.shape else canonical.halved
    voxel2pixel = np.linalg.inv(frame.grid.affine) @ box_affine
    weight = frame.mask.astype(np.float32)
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
    box, box_affine = boxed_affine(mask, volume.affine)
    sigmas = lowpass_sigmas(volume.spacing_mm, grid.pixel_mm)
    return resampled(low_passed((values[box] * mask[box]).astype(np.float32, copy=False), sigmas), box_affine, grid)


def _sampled(brain: SmoothBrain, grid: Grid) -> tuple[FloatArray, BoolArray]:
    """Bring a brain onto `grid`, averaging brain voxels only: values and mask."""
    summed, coverage = (resampled(values, brain.affine, grid) for values in brain.coarse)
    mask = coverage >= MIN_COVERAGE
    result: FloatArray = np.zeros(grid.shape, dtype=np.float32)
    np.divide(summed, coverage, out=result, where=mask)
    return result, mask


def _without_rim(values: FloatArray, mask: BoolArray, pixel_mm: float) -> BoolArray:
    """Return the mask without the dark voxels near its surface and without thin parts, in one piece."""
    if not mask.any():
        return mask
    dark = standardized(values, mask) < RIM_DARK_SD
    tight = largest_component(without_thin_parts(mask & ~(dark & (depth_mm(mask, pixel_mm) <= RIM_DEPTH_MM))))
    return tight if tight.sum() >= MIN_TIGHT_SHARE * mask.sum() else mask
