"""The stored outputs of one scan, and the way from the grid of one scan of a person to that of another.

Scans of one session share the scanner's coordinates, so a point has the same RAS mm in each, unless the person moved or
a header is wrong. Where both scans were aligned to the mean brain, the alignments say by how much.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vae_loc.preprocessing.resampling import interpolated
from vae_loc.scans.affine import affine_mm
from vae_loc.scans.nifti import read_image
from vae_loc.scans.volume import Volume
from vae_loc.vocabulary import FloatArray

Affine = NDArray[np.float64]  # (4, 4)
MAX_OFF_MM = 5.0  # median over the brain; one person's scans differ by 0.6 to 1.4 mm (docs/measured/persons.md)
SAME_GRID_MM = 1e-3  # corners nearer than this are those of one grid
EVERY = 4  # one of so many voxels along each axis tells how far two alignments are apart


def read_output(path: Path) -> Volume:
    """Return a map or numbered mask that was written for a scan; unlike a scan it may be of one value.

    Raises
    ------
    UnusableInput : if it is missing or damaged.
    """
    image = read_image(path, lambda _: 0, may_be_sparse=True)
    return Volume(np.asarray(image.stored, dtype=np.float32), affine_mm(path, image.header)[0], image.header, path)


def first2other_mm(
    first_map: Volume, first_template2ras_mm: Affine | None, other_template2ras_mm: Affine | None
) -> tuple[Affine, float | None]:
    """Return the affine from RAS mm of a person's first scan to those of another, and how far both are apart in mm.

    Parameters
    ----------
    first_map : a map of the first scan, > 0 in its brain
    first_template2ras_mm, other_template2ras_mm : where the mean brain lies in each scan; None where it is not known

    Returns
    -------
    The identity where both alignments agree within `MAX_OFF_MM`, or where one is not known; else the way through the
    mean brain. The distance is the median over the brain, None where an alignment is not known.
    """
    if first_template2ras_mm is None or other_template2ras_mm is None:
        return np.eye(4), None
    through_template: Affine = other_template2ras_mm @ np.linalg.inv(first_template2ras_mm)
    voxels = np.argwhere(first_map.data[::EVERY, ::EVERY, ::EVERY] > 0) * EVERY
    points = voxels @ first_map.affine[:3, :3].T + first_map.affine[:3, 3]
    moved = points @ through_template[:3, :3].T + through_template[:3, 3]
    off_mm = float(np.median(np.linalg.norm(moved - points, axis=1))) if len(points) else 0.0
    return (np.eye(4) if off_mm <= MAX_OFF_MM else through_template), off_mm


def on_grid_of(first: Volume, values: FloatArray, affine: Affine, way_mm: Affine) -> FloatArray:
    """Return an array of another scan on the grid of the first: linear interpolation, zero outside.

    Parameters
    ----------
    values : float32, on the other scan's grid, whose indices `affine` maps to RAS mm
    way_mm : what `first2other_mm` returned
    """
    first2other = np.linalg.inv(affine) @ way_mm @ first.affine
    if values.shape == first.data.shape and _same(first2other, values.shape):
        return values
    return interpolated(values, first2other, first.data.shape)


def _same(first2other: Affine, shape: tuple[int, ...]) -> bool:
    """Tell whether an affine between indices moves no corner of an array by more than `SAME_GRID_MM` voxels."""
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in shape], [1])).reshape(4, -1)
    return bool(np.abs((first2other - np.eye(4)) @ corners).max() <= SAME_GRID_MM)
