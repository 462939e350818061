"""Derivatives of a template and the columns of its intensities, made once for registration.

And the image beside it: its values, and what is known of it, at the points of a level.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vae_loc.preprocessing.pose import BRAIN_OFFSET, Affine
from vae_loc.preprocessing.resampling import block_means, low_passed
from vae_loc.vocabulary import BoolArray, FloatArray

# coarse to fine: blocks of pixels joined, every n-th voxel, steps at most, order of the shading
RESOLUTIONS = ((4, 1, 15, 1), (2, 2, 8, 1), (1, 4, 6, 2))
KNOTS = np.array([0.0, 0.3, 0.45, 0.6, 0.75, 0.9, 1.0, 1.1, 1.3], dtype=np.float32)  # of the curve, intensities of T
MIN_RIM, RIM_SIGMA = 0.1, 1.0  # share of brain around a voxel, blurred, from which on it counts: so the outline does
NORM_MM = 60.0  # by which coordinates are scaled, so that turns and shifts weigh alike
Limits = NDArray[np.float32]  # (2, 3), lowest and highest x, y, z in mm of what is known of an image


@dataclass(frozen=True)
class TemplateLevel:
    """A template T at one resolution, at N points.

    Attributes
    ----------
    block : pixels of the cube joined to one, a side; `pixel_mm` is the joined edge
    steps : how many at most
    points : float32 (N, 3), mm from the middle of the cube
    steepest : float32 (N, 12), grad T times (x, y, z, 1), coordinates in `NORM_MM`
    segment : int (N,), between which knots T lies
    shades : float32 (N, P), the columns of the curve f(T) and of the shading T b(x)
    brain : bool (N,), where the template is brain
    """

    block: int
    pixel_mm: float
    steps: int
    points: FloatArray
    steepest: FloatArray
    segment: NDArray[np.intp]
    shades: FloatArray
    brain: BoolArray


def template_levels(template: FloatArray, pixel_mm: float) -> tuple[TemplateLevel, ...]:
    """Return a template (N, N, N) at all resolutions, coarse to fine; made once for the same values."""
    raw = np.ascontiguousarray(template, dtype=np.float32).tobytes()
    return tuple(_level(raw, len(template), pixel_mm, *of) for of in RESOLUTIONS)


def known(level: TemplateLevel, affine: Affine, limits: Limits) -> FloatArray:
    """Return 1 where the image is known at the points moved by `affine`, else 0, float32 (N,)."""
    if not np.isfinite(limits).any():
        return np.ones(len(level.points), dtype=np.float32)
    at = level.points @ affine[:3, :3].T.astype(np.float32) + affine[:3, 3].astype(np.float32)
    inside: FloatArray = ((at >= limits[0]) & (at <= limits[1])).all(axis=1).astype(np.float32)
    return inside


def sampled(image: FloatArray, level: TemplateLevel, affine: Affine) -> FloatArray:
    """Return the image (N, N, N), linearly interpolated, at the points moved by `affine`; 0 outside."""
    size = len(image) + 2
    padded = np.pad(image, 1).ravel()
    at = level.points @ (affine[:3, :3].T / level.pixel_mm).astype(np.float32)
    at += (affine[:3, 3] / level.pixel_mm + (size - 1) / 2).astype(np.float32)
    np.clip(at, 0, size - 1.001, out=at)
    low = at.astype(np.intp)
    x, y, z = (at - low).T
    corner = (low[:, 0] * size + low[:, 1]) * size + low[:, 2]

    def along_z(offset: int) -> FloatArray:
        here = padded[corner + offset]
        line: FloatArray = here + z * (padded[corner + (offset + 1)] - here)
        return line

    near = along_z(0) * (1 - y) + along_z(size) * y
    far = along_z(size * size) * (1 - y) + along_z(size * size + size) * y
    values: FloatArray = near + x * (far - near)
    return values


@functools.lru_cache(maxsize=4 * len(RESOLUTIONS))  # of four templates
def _level(raw: bytes, side: int, pixel_mm: float, block: int, every: int, steps: int, order: int) -> TemplateLevel:
    """Return a template at one resolution, at every `every`-th voxel in or beside the brain."""
    small = block_means(np.frombuffer(raw, dtype=np.float32).reshape((side,) * 3), (block,) * 3)
    # points in or beside the brain
    near = low_passed((small > BRAIN_OFFSET / 6).astype(np.float32), (RIM_SIGMA,) * 3) > MIN_RIM
    index = np.argwhere(near)
    index = index[index.sum(axis=1) % every == 0]
    points = ((index - (len(small) - 1) / 2) * pixel_mm * block).astype(np.float32)
    value: FloatArray = small[tuple(index.T)]
    # steepest descent by the 12 numbers of an affine
    x = points / NORM_MM
    gradient = np.array(np.gradient(small, pixel_mm * block))[(slice(None), *index.T)].T
    moved = np.concatenate([x, np.ones((len(x), 1), dtype=np.float32)], axis=1)
    steepest = (gradient[:, :, None] * moved[:, None, :]).reshape(len(x), 12).astype(np.float32)
    # columns of the curve: shares of the two knots around the intensity; of the shading: polynomials
    segment = np.clip(np.searchsorted(KNOTS, value, side="right") - 1, 0, len(KNOTS) - 2)
    share = (value - KNOTS[segment]) / (KNOTS[segment + 1] - KNOTS[segment])
    curve = np.zeros((len(x), len(KNOTS)), dtype=np.float32)
    curve[np.arange(len(x)), segment], curve[np.arange(len(x)), segment + 1] = 1 - share, share
    terms = [x[:, i] for i in range(3)] + [x[:, i] * x[:, j] for i in range(3) for j in range(i, 3) if order == 2]
    shades = np.concatenate([curve, value[:, None] * np.stack(terms, axis=1)], axis=1)
    return TemplateLevel(block, pixel_mm * block, steps, points, steepest, segment, shades, value > BRAIN_OFFSET)
