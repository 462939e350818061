"""Synthetic heads small enough for every test to run in seconds."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np

RADII_MM = (65.0, 80.0, 60.0)  # a brain of about 1300 ml


def phantom(affine, shape, *, ball=None, radius_mm=12.0, gain=1.5, seed=0):
    """A skull-stripped brain-like ellipsoid in world space around 0, with an optional ball."""
    grid = np.stack(np.meshgrid(*[np.arange(n) for n in shape], indexing="ij"), -1)
    world = grid @ affine[:3, :3].T + affine[:3, 3]
    x, y, z = np.moveaxis(world, -1, 0)
    inside = (x / RADII_MM[0]) ** 2 + (y / RADII_MM[1]) ** 2 + (z / RADII_MM[2]) ** 2 < 1
    # smooth, asymmetric structure, so that a mirrored or turned brain is another one
    data = 100 + 15 * np.sin(x / 17 + seed) + 15 * np.cos(y / 23 + 0.3 * x / 31) + 10 * np.sin(z / 19 + 1)
    if ball is not None:
        data = np.where(np.linalg.norm(world - ball, axis=-1) < radius_mm, data * gain, data)
    return np.where(inside, data, 0).astype(np.float32), inside


def centred(matrix, shape):
    """Affine of `matrix` that puts the middle of the array at 0 mm."""
    affine = np.eye(4)
    affine[:3, :3] = matrix
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return affine


def save(path: Path, data, affine, *, sform=1, qform=1, header=None):
    image = nib.Nifti1Image(data, affine, header)
    image.set_sform(affine, sform)
    image.set_qform(affine, qform, strip_shears=True)
    if not sform and not qform:
        image.header["sform_code"], image.header["qform_code"] = 0, 0
    image.header.set_xyzt_units("mm")
    nib.save(image, path)
    return path


SHAPE = (40, 46, 36)  # the grid of most tests: 4 mm, 160 x 184 x 144 mm
AFFINE = centred(np.diag([4.0, 4.0, 4.0]), SHAPE)
BALL = (28.0, 12.0, 16.0)  # mm: a place well inside the brain


def dice(one, other):
    """Dice of two masks."""
    return 2 * np.count_nonzero(one & other) / (np.count_nonzero(one) + np.count_nonzero(other))
