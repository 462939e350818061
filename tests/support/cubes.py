"""Brains on cubes of 3 mm, moved by a known affine."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import affine_transform

PIXEL_MM = 3.0


def moved(zoom=1.0, turn_rad=0.0, shift_mm=0.0):
    """An affine in mm about the middle of a cube: a zoom, a turn about z and a shift along x."""
    cos, sin = np.cos(turn_rad) * zoom, np.sin(turn_rad) * zoom
    return np.array([[cos, -sin, 0, shift_mm], [sin, cos, 0, 0], [0, 0, zoom, 0], [0, 0, 0, 1.0]])


def moved_cube(cube, by):
    """Data and mask of a cube whose brain was moved by `by` in mm."""
    back = np.linalg.inv(by)
    middle = (cube.mask.shape[0] - 1) / 2
    offset = middle + back[:3, 3] / PIXEL_MM - back[:3, :3] @ np.full(3, middle)
    mask = affine_transform(cube.mask.astype(np.float32), back[:3, :3], offset, order=1) > 0.5
    return affine_transform(cube.data, back[:3, :3], offset, order=1), mask


def off_mm(cube, affine, by):
    """Mean distance in mm, over the brain, between where an alignment and the truth take the template's points."""
    voxels = np.argwhere(cube.mask)[::31]
    points = np.concatenate([(voxels - (len(cube.mask) - 1) / 2) * PIXEL_MM, np.ones((len(voxels), 1))], axis=1)
    return np.linalg.norm((points @ (affine - by).T)[:, :3], axis=1).mean()
