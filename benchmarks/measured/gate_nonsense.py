"""Scans that must not be scored in silence, and hard ones that must not be refused, made of real scans."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import nibabel as nib
import numpy as np
from scipy.ndimage import gaussian_filter

from benchmarks.measured.thick_slices import averaged
from vae_loc.preprocessing.brain_mask import find_brain
from vae_loc.preprocessing.open_scan import Scan
from vae_loc.scans.volume import Volume

FWHM_PER_SIGMA = 2.355
Made = tuple[str, Callable[[], Scan]]


def other(scan: Scan, data=None, brain=None, affine=None, source="file") -> Scan:
    """Return a scan with other voxels, brain or affine."""
    volume = scan.volume
    voxels = np.asfortranarray(volume.data if data is None else data, dtype=np.float32)
    changed = replace(volume, data=voxels, affine=volume.affine if affine is None else affine)
    return Scan(changed, scan.brain if brain is None else brain, source)


def axes_of(scan: Scan) -> dict[str, int]:
    """Return which axis of the array runs to the left or right (x), front or back (y), top or bottom (z)."""
    codes = nib.aff2axcodes(scan.volume.affine)
    return {
        name: next(i for i, code in enumerate(codes) if code in pair)
        for name, pair in (("x", "LR"), ("y", "PA"), ("z", "SI"))
    }


def nonsense(scan: Scan, seed: int = 0) -> Iterator[Made]:
    """Yield names and makers of scans that are none, of one that is."""
    data, brain, axes = scan.volume.data, scan.brain, axes_of(scan)
    rng = np.random.default_rng(seed)
    spacing = np.array(scan.volume.spacing_mm)

    def flipped(*names):
        places = tuple(axes[name] for name in names)
        return other(scan, np.flip(data, places), np.flip(brain, places))

    yield "upside down", lambda: flipped("z")
    yield "mirrored front to back", lambda: flipped("y")
    yield "turned over", lambda: flipped("y", "z")
    yield "noise in the brain", lambda: other(scan, rng.normal(100, 20, data.shape) * brain)
    yield (
        "smooth noise in the brain",
        lambda: other(scan, (100 + gaussian_filter(rng.normal(0, 300, data.shape), 3 / spacing)) * brain),
    )
    smooth = gaussian_filter(rng.normal(0, 1, data.shape), 4 / spacing)
    yield "a symmetric map of statistics", lambda: other(scan, (smooth + np.flip(smooth, axes["x"])) * brain)
    order = rng.permutation(data.shape[axes["z"]])
    yield (
        "slices in another order",
        lambda: other(scan, np.take(data, order, axes["z"]), np.take(brain, order, axes["z"])),
    )
    yield "a mask of a few ml", lambda: other(scan, brain=_ball(scan))
    yield "voxels 1.5 times as large", lambda: other(scan, affine=scan.volume.affine @ np.diag([1.5, 1.5, 1.5, 1]))
    yield "voxels 0.6 times as large", lambda: other(scan, affine=scan.volume.affine @ np.diag([0.6, 0.6, 0.6, 1]))
    yield "the whole volume as brain", lambda: other(scan, brain=np.ones_like(brain), source="none")


def blurred(scan: Scan, fwhm_mm: float) -> Scan:
    """Return a scan whose brain is blurred."""
    sigmas = fwhm_mm / FWHM_PER_SIGMA / np.array(scan.volume.spacing_mm)
    weight = np.maximum(gaussian_filter(scan.brain.astype(np.float32), sigmas), 0.05)
    return other(scan, gaussian_filter(scan.volume.data * scan.brain, sigmas) / weight * scan.brain)


def hard(scan: Scan, seed: int = 0) -> Iterator[Made]:
    """Yield names and makers of scans that must not be refused."""
    data, brain, axes = scan.volume.data, scan.brain, axes_of(scan)
    rng = np.random.default_rng(seed)
    level = float(np.median(data[brain]))
    yield "a brain of mean 0", lambda: other(scan, (data - level) * brain)
    yield "mirrored left to right", lambda: other(scan, np.flip(data, axes["x"]), np.flip(brain, axes["x"]))
    yield "a child's size (0.88)", lambda: other(scan, affine=scan.volume.affine @ np.diag([0.88, 0.88, 0.88, 1]))
    yield "the upper 60 %", lambda: _part(scan, "z", 0.4, 1.0)
    yield "the lower 70 %", lambda: _part(scan, "z", 0.0, 0.7)
    yield "one half", lambda: _part(scan, "x", 0.5, 1.0)
    yield "noise, a fifth of the median", lambda: other(scan, data + rng.normal(0, level / 5, data.shape))
    yield "shading by 4", lambda: other(scan, data * np.exp(np.linspace(-0.7, 0.7, data.shape[0]))[:, None, None])
    ghost = np.roll(data, int(0.15 * data.shape[axes["y"]]), axes["y"])
    yield "a ghost of 30 %", lambda: other(scan, 0.7 * data + 0.3 * ghost)
    yield "slices of 6 mm", lambda: _thick(scan, 6.0)
    tilt = np.eye(4)
    tilt[1:3, 1:3] = [[np.cos(0.35), -np.sin(0.35)], [np.sin(0.35), np.cos(0.35)]]
    yield "tilted by 20 degrees", lambda: other(scan, affine=tilt @ scan.volume.affine)


def objects(like: Volume) -> Iterator[Made]:
    """Yield names and makers of things that are no heads, on a grid of 2 mm."""
    shape = (100, 110, 100)
    affine = np.diag([2.0, 2.0, 2.0, 1.0])
    affine[:3, 3] = -2 * (np.array(shape) - 1) / 2
    world = np.stack(np.meshgrid(*[np.arange(n) for n in shape], indexing="ij"), -1) * 2 + affine[:3, 3]
    radius = np.linalg.norm(world, axis=-1)
    egg = np.linalg.norm(world / (62, 80, 60), axis=-1)
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 3, shape)
    bowl = [(0, 0, 0), (45, 20, 0), (-45, 20, 0), (0, -50, 0), (20, 40, 40)]
    fruit = np.min([np.linalg.norm(world - centre, axis=-1) for centre in bowl], axis=0)
    melon = (
        70
        + 60 * (radius < 66)
        - 50 * (radius < 30)
        + 40 * np.sin(9 * np.arctan2(world[..., 1], world[..., 0])) * (radius < 34)
    )
    things = {
        "a sphere": (radius < 65, 100 + noise),
        "a shaded sphere": (radius < 65, 100 + 0.3 * world[..., 0] + noise),
        "a sphere of shells": (radius < 65, 60 + 40 * ((radius // 12) % 2) + noise),
        "an egg": (egg < 1, 100 + noise),
        "an egg of noise": (egg < 1, rng.uniform(50, 150, shape)),
        "a melon": (radius < 78, melon + noise),
        "a bowl of fruit": (fruit < 40, 80 + 20 * np.sin(radius / 4) + noise),
    }
    for name, (inside, values) in things.items():
        data = np.asfortranarray(inside * values, dtype=np.float32)
        volume = replace(like, data=data, affine=affine, missing=None, warnings=())
        yield name, lambda volume=volume: Scan(volume, *find_brain(volume, "auto"))


def _ball(scan: Scan) -> np.ndarray:
    grid = np.moveaxis(np.indices(scan.brain.shape), 0, -1)
    centre = np.argwhere(scan.brain).mean(axis=0)
    return np.linalg.norm((grid - centre) * scan.volume.spacing_mm, axis=-1) < 8


def _part(scan: Scan, name: str, first: float, last: float) -> Scan:
    """Return a scan that covers a part of the brain alone, counted to the right, front or top."""
    axis = axes_of(scan)[name]
    if nib.aff2axcodes(scan.volume.affine)[axis] in "LPI":
        first, last = 1 - last, 1 - first
    used = np.flatnonzero(scan.brain.any(axis=tuple({0, 1, 2} - {axis})))
    start, stop = (round(used[0] + share * (used[-1] + 1 - used[0])) for share in (first, last))
    inside = np.zeros_like(scan.brain)
    inside[tuple(slice(start, stop) if a == axis else slice(None) for a in range(3))] = True
    return other(scan, scan.volume.data * inside, scan.brain & inside)


def _thick(scan: Scan, thickness_mm: float) -> Scan:
    """Return a scan of thick slices from the bottom to the top."""
    axis = axes_of(scan)["z"]
    step = max(1, round(thickness_mm / scan.volume.spacing_mm[axis]))
    affine = scan.volume.affine.copy()
    affine[:3, 3] += affine[:3, axis] * (step - 1) / 2
    affine[:3, axis] *= step
    data, brain = (averaged(values.astype(float), axis, step) for values in (scan.volume.data, scan.brain))
    return other(scan, data, brain > 0.5, affine)
