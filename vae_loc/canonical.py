"""Volume -> canonical grid and intensities, and the way back (design [3], [4], [5]).

The canonical grid is RAS+, 3 mm isotropic for 64 pixels (192 mm field of view in the axial
plane), centred on the brain mask. Scaling and resampling use only voxels inside the mask, so a
whole head and its skull-stripped copy give the same slices.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vae_loc.errors import UnusableInput
from vae_loc.volume import BoolArray, FloatArray, Volume

FIELD_OF_VIEW_MM = 192.0  # 64 pixels of 3 mm; holds an adult brain with room for pose errors
CLIP_SD = (-3.5, 6.0)  # robust standard deviations kept; T1 CSF is near -3, FLAIR lesions below 6
BACKGROUND_SD = -4.0  # outside the brain: a value that no tissue has
SD_PER_IQR = 0.7413  # of a normal distribution
FWHM_PER_SIGMA = 2.3548  # of a Gaussian
MIN_COVERAGE = 0.5  # share of brain under a canonical pixel from which on it counts as brain
MIN_BRAIN_VOXELS = 100  # fewer give no robust statistics
MAX_OUTSIDE_SHARE = 0.01  # of the brain beyond the field of view before the user is told


@dataclass(frozen=True)
class Grid:
    """A box of voxels in space: shape (I, J, K) and affine (4, 4) to RAS+ mm."""

    shape: tuple[int, int, int]
    affine: NDArray[np.float64]

    @property
    def pixel_mm(self) -> float:
        """Edge of its isotropic voxels in mm."""
        return float(self.affine[0, 0])


@dataclass(frozen=True)
class CanonicalVolume:
    """A brain on the canonical grid.

    Attributes
    ----------
    data : float32 (I, J, K), robust standard deviations from the brain's median,
        `BACKGROUND_SD` outside the brain
    mask : bool (I, J, K), the brain
    grid : where it lies
    centre_slice : the K at which the brain's centroid lies
    warnings : what the user should know, one line each
    """

    data: FloatArray
    mask: BoolArray
    grid: Grid
    centre_slice: int
    warnings: tuple[str, ...] = ()


def to_canonical(volume: Volume, mask: BoolArray, *, image_size: int = 64) -> CanonicalVolume:
    """Bring a brain onto the canonical grid and intensity scale.

    z = (x - median) / (0.7413 IQR) over the brain, clipped to `CLIP_SD`; a Gaussian low-pass
    to the canonical resolution, normalised by the smoothed mask; linear interpolation.

    Raises
    ------
    UnusableInput : if the brain is too small, or of one intensity.

    Does not register: a head keeps its pose in scanner space.
    """
    valid = mask if volume.missing is None else mask & ~volume.missing
    standardized = _standardized(volume, valid)
    grid, centre_slice = _grid_around(volume, mask, image_size)
    box, box_affine = _bounding_box(valid, volume.affine)
    weight = valid[box].astype(np.float32)
    sigmas = _lowpass_sigmas(volume.spacing_mm, grid.pixel_mm)
    brain = _smoothed(weight, sigmas)
    values = _smoothed(standardized[box] * weight, sigmas)
    coverage = _resampled(brain, box_affine, grid)
    values = _resampled(values, box_affine, grid)
    canonical_mask = coverage >= MIN_COVERAGE
    data = np.full(grid.shape, BACKGROUND_SD, dtype=np.float32)
    np.divide(values, coverage, out=data, where=canonical_mask)
    return CanonicalVolume(data, canonical_mask, grid, centre_slice, _coverage_warnings(mask, volume, grid))


def from_canonical(values: FloatArray, canonical: CanonicalVolume, volume: Volume, mask: BoolArray) -> FloatArray:
    """Bring a map from the canonical grid back onto the grid of `volume`.

    Parameters
    ----------
    values : float32 on `canonical.grid`; only those inside `canonical.mask` are used
    mask : bool (I, J, K) of `volume`, where the map may be non-zero

    Returns
    -------
    float32 (I, J, K): linear interpolation among brain pixels, zero outside the brain.
    """
    box, box_affine = _bounding_box(mask, volume.affine)
    target = Grid(mask[box].shape, box_affine)
    weight = canonical.mask.astype(np.float32)
    near_brain = _resampled(weight, canonical.grid.affine, target)
    interpolated = _resampled(values * weight, canonical.grid.affine, target)
    inside = mask[box] & (near_brain > 1e-3)
    result = np.zeros(mask.shape, dtype=np.float32)
    np.divide(interpolated, near_brain, out=result[box], where=inside)
    return result


def smoothed_in_brain(values: FloatArray, canonical: CanonicalVolume, fwhm_mm: float) -> FloatArray:
    """Smooth a map by a 3D Gaussian of `fwhm_mm`, over brain pixels only; zero outside."""
    sigma = fwhm_mm / FWHM_PER_SIGMA / canonical.grid.pixel_mm
    weight = canonical.mask.astype(np.float32)
    brain = _smoothed(weight, (sigma,) * 3)
    smooth = _smoothed(values * weight, (sigma,) * 3)
    result = np.zeros_like(values)
    np.divide(smooth, brain, out=result, where=canonical.mask)
    return result


def onto_grid(values: FloatArray, volume: Volume, mask: BoolArray, grid: Grid) -> FloatArray:
    """Bring `values` (I, J, K) of a volume's own grid onto `grid`: a low-pass, then linear; zero outside `mask`."""
    box, box_affine = _bounding_box(mask, volume.affine)
    sigmas = _lowpass_sigmas(volume.spacing_mm, grid.pixel_mm)
    return _resampled(_smoothed((values * mask)[box].astype(np.float32), sigmas), box_affine, grid)


def to_place(values: FloatArray, canonical: CanonicalVolume) -> FloatArray:
    """Shift a canonical array along K so that the centroid lies in the middle of a cube; zero where there is nothing.

    Returns
    -------
    float32 (I, J, I): the same voxel is about the same place in every brain, up to pose and size.
    """
    size = canonical.grid.shape[0]
    result = np.zeros((size, size, size), dtype=np.float32)
    of_place, of_canonical = _shared_slices(canonical)
    result[:, :, of_place] = values[:, :, of_canonical]
    return result


def from_place(place: FloatArray, canonical: CanonicalVolume) -> FloatArray:
    """Shift back what `to_place` shifted; zero beyond the cube."""
    result = np.zeros(canonical.grid.shape, dtype=np.float32)
    of_place, of_canonical = _shared_slices(canonical)
    result[:, :, of_canonical] = place[:, :, of_place]
    return result


def _shared_slices(canonical: CanonicalVolume) -> tuple[slice, slice]:
    size, height = canonical.grid.shape[0], canonical.grid.shape[2]
    shift = size // 2 - canonical.centre_slice
    first, last = max(0, shift), min(size, height + shift)
    return slice(first, last), slice(first - shift, last - shift)


def _standardized(volume: Volume, valid: BoolArray) -> FloatArray:
    brain = volume.data[valid].astype(np.float64)
    if brain.size < MIN_BRAIN_VOXELS:
        raise UnusableInput(
            volume.path,
            f"expected a brain of at least {MIN_BRAIN_VOXELS} voxels, the mask holds {brain.size}; check the mask",
        )
    low, median, high = np.percentile(brain, (25, 50, 75))
    scale = SD_PER_IQR * (high - low) or float(np.std(np.clip(brain, *np.percentile(brain, (1, 99)))))
    if scale == 0:
        raise UnusableInput(volume.path, f"expected tissue contrast, the brain is {median:g} everywhere")
    standardized: FloatArray = np.clip((volume.data - median) / scale, *CLIP_SD).astype(np.float32)
    return standardized


def _grid_around(volume: Volume, mask: BoolArray, image_size: int) -> tuple[Grid, int]:
    """Return the RAS+ grid centred on the mask's centroid and as tall as the mask, and the K of the centroid."""
    indices = np.argwhere(mask)
    world = indices @ volume.affine[:3, :3].T + volume.affine[:3, 3]
    pixel = FIELD_OF_VIEW_MM / image_size
    centre = world.mean(axis=0)
    below = int(np.ceil((centre[2] - world[:, 2].min()) / pixel + 0.5))
    above = int(np.ceil((world[:, 2].max() - centre[2]) / pixel + 0.5))
    affine = np.diag([pixel, pixel, pixel, 1.0])
    half = (image_size - 1) / 2
    affine[:3, 3] = centre - pixel * np.array([half, half, below])
    return Grid((image_size, image_size, below + above + 1), affine), below


def _coverage_warnings(mask: BoolArray, volume: Volume, grid: Grid) -> tuple[str, ...]:
    world = np.argwhere(mask) @ volume.affine[:3, :3].T + volume.affine[:3, 3]
    offset = np.abs(world[:, :2] - (grid.affine[:2, 3] + grid.pixel_mm * (grid.shape[0] - 1) / 2))
    outside = float((offset > FIELD_OF_VIEW_MM / 2).any(axis=1).mean())
    if outside <= MAX_OUTSIDE_SHARE:
        return ()
    return (f"{outside:.0%} of the mask lies outside the {FIELD_OF_VIEW_MM:g} mm field of view and is not scored",)


def _bounding_box(
    mask: BoolArray, affine: NDArray[np.float64]
) -> tuple[tuple[slice, slice, slice], NDArray[np.float64]]:
    """Return the mask's box with one voxel of margin, and the affine of the array cut to it."""
    spans = []
    for axis in range(3):
        used = np.flatnonzero(mask.any(axis=tuple(a for a in range(3) if a != axis)))
        spans.append(slice(max(0, int(used[0]) - 1), min(mask.shape[axis], int(used[-1]) + 2)))
    cut = affine.copy()
    cut[:3, 3] += affine[:3, :3] @ [span.start for span in spans]
    return (spans[0], spans[1], spans[2]), cut


def _lowpass_sigmas(spacing_mm: tuple[float, ...], pixel_mm: float) -> tuple[float, ...]:
    """Sigmas in voxels that bring a resolution of one voxel to one of `pixel_mm` (FWHM)."""
    fwhm_mm = [np.sqrt(max(0.0, pixel_mm**2 - s**2)) for s in spacing_mm]
    return tuple(float(f / FWHM_PER_SIGMA / s) for f, s in zip(fwhm_mm, spacing_mm, strict=True))


def _smoothed(values: FloatArray, sigmas: tuple[float, ...]) -> FloatArray:
    from scipy.ndimage import gaussian_filter

    result: FloatArray = gaussian_filter(values, sigmas, mode="constant", truncate=3.0)
    return result


def _resampled(values: FloatArray, affine: NDArray[np.float64], target: Grid) -> FloatArray:
    """Linear interpolation of `values` (voxel to mm by `affine`) on `target`; zero outside."""
    from scipy.ndimage import affine_transform

    target2source = np.linalg.inv(affine) @ target.affine
    result: FloatArray = affine_transform(
        values, target2source[:3, :3], target2source[:3, 3], output_shape=target.shape, order=1, mode="grid-constant"
    )
    return result
