"""The pose of a brain on a cube: intensities to align by, centroid, outline; which affines fit two adults' heads.

Cubes have their centre at 0 mm and RAS+ axes. All thresholds of outlines are here, as Dice with the mean brain, 0 to 1;
the values of scans at hand are in docs/measured/scan-gate.md.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vae_loc.preprocessing.regions import bounding_box
from vae_loc.preprocessing.resampling import Grid
from vae_loc.vocabulary import BoolArray, FloatArray

Affine = NDArray[np.float64]

INTENSITY_PERCENTILES = (1, 99)
BRAIN_OFFSET = 0.3  # of the intensity range, so that the brain's outline counts too
MAX_ZOOM, MAX_STRETCH = 1.35, 1.5  # adults differ by +-15 % a side; axes to each other
MAX_ANGLE_RAD = 0.6  # 34 degrees: a head in a scanner tilts less
MAX_SHIFT_MM = 30.0  # beyond what the outlines say, after which something else was matched

TURNED_OUTLINE = 0.92  # below it other poses are tried: whole brains have .92 and more
ALIGNED_OUTLINE = 0.88  # from which on a brain is well aligned: .91 and more where it is right, .77 with a part missing
POOR_OUTLINE = 0.72  # below it the detail must be that of a brain: fruit .70
MATCHED_OUTLINE = 0.65  # below it nothing was matched, and the brain keeps its own pose
NO_OUTLINE = 0.55  # below it a mask is no brain: those with a part missing .66
MAX_OUTLINE_LOSS = 0.1  # of the aligned brain turned as it is, which aligning it anew may make up for: heads .075
MIN_OUTLINE_GAIN = 0.03  # of another pose, to be the right one
CUT_FACE = 0.35  # of a face of the mask's box: a mask that covers more goes on beyond it


def windowed(data: FloatArray, mask: BoolArray) -> FloatArray:
    """Return a brain (N, N, N) between `BRAIN_OFFSET` and 1 + `BRAIN_OFFSET`, 0 outside, float32."""
    low, high = np.percentile(data[mask], INTENSITY_PERCENTILES)
    scaled = np.clip((data - low) / ((high - low) or 1.0), 0, 1) + BRAIN_OFFSET
    result: FloatArray = np.where(mask, scaled, 0).astype(np.float32)
    return result


def centroid_mm(mask: BoolArray, pixel_mm: float) -> NDArray[np.float64]:
    """Return the centroid of a mask (N, N, N) in mm from the middle of the cube, float64 (3,)."""
    axis = (np.arange(len(mask)) - (len(mask) - 1) / 2) * pixel_mm
    profiles = [np.count_nonzero(mask, axis=others) for others in ((1, 2), (0, 2), (0, 1))]
    centroid: NDArray[np.float64] = np.array([profile @ axis for profile in profiles]) / max(1, np.count_nonzero(mask))
    return centroid


def cube_affine(size: int, pixel_mm: float) -> Affine:
    """Return the affine (4, 4) from the indices of a cube to mm from its middle."""
    affine = np.diag([pixel_mm] * 3 + [1.0])
    affine[:3, 3] = -pixel_mm * (size - 1) / 2
    return affine


def grid_around(centre_mm: NDArray[np.float64], size: int, side_mm: float) -> Grid:
    """Return the RAS+ cube of `size` voxels and `side_mm` a side, centred on a point."""
    affine = cube_affine(size, side_mm / size)
    affine[:3, 3] += centre_mm
    return Grid((size,) * 3, affine, side_mm / size)


def moved_grid(grid: Grid, template2brain: Affine) -> Grid:
    """Return a cube whose voxels lie where the template's do in this brain."""
    centring = cube_affine(grid.shape[0], grid.pixel_mm)
    return Grid(grid.shape, grid.affine @ np.linalg.inv(centring) @ template2brain @ centring, grid.pixel_mm)


def halved_grid(grid: Grid) -> Grid:
    """Return the cube of half the voxel's edge that covers the same."""
    halving = np.diag([0.5, 0.5, 0.5, 1.0])
    halving[:3, 3] = -0.25
    first, second, third = grid.shape
    return Grid((2 * first, 2 * second, 2 * third), grid.affine @ halving, grid.pixel_mm / 2)


def plausible(affine: Affine, expected_mm: NDArray[np.float64] | None = None) -> bool:
    """Return whether an affine (4, 4) may take one adult's head to another's: no big zoom, shear, turn or shift.

    Parameters
    ----------
    expected_mm : float64 (3,), the shift that the outlines suggest; None means none
    """
    if not np.isfinite(affine).all() or np.linalg.det(affine[:3, :3]) <= 0:
        return False
    left, zooms, right = np.linalg.svd(affine[:3, :3])
    angle = np.arccos(np.clip((np.trace(left @ right) - 1) / 2, -1, 1))
    shift = affine[:3, 3] - (0 if expected_mm is None else expected_mm)
    return bool(
        zooms.max() <= MAX_ZOOM
        and zooms.min() >= 1 / MAX_ZOOM
        and zooms.max() / zooms.min() <= MAX_STRETCH
        and angle <= MAX_ANGLE_RAD
        and np.linalg.norm(shift) <= MAX_SHIFT_MM
    )


def outline_dice(mask: BoolArray, template: FloatArray) -> float:
    """Return the Dice of a brain's mask and that of the mean brain, (N, N, N) each, 0 to 1."""
    brain = template > BRAIN_OFFSET
    either = int(np.count_nonzero(mask)) + int(np.count_nonzero(brain))
    return 2 * int(np.count_nonzero(mask & brain)) / max(1, either)


def cut_faces(mask: BoolArray) -> BoolArray:
    """Return at which faces of its box a mask (I, J, K) is cut straight, bool (3, 2): the low and high of each axis.

    >>> int(cut_faces(np.ones((3, 3, 3), dtype=bool)).sum())
    6
    """
    inside = mask[bounding_box(mask)]
    return np.array([[np.moveaxis(inside, axis, 0)[end].mean() > CUT_FACE for end in (0, -1)] for axis in range(3)])
