"""Whole head -> brain, by the networks of deepbet, run by onnxruntime (`deepbet/README.md`).

Fisch et al. 2024, doi:10.1016/j.compbiomed.2024.108845 (MIT). They learned from T1 of adults. One network finds the
brain in the whole volume at 128^3; the other looks at that box at 256^3. Each sees the means of 2x2x2 samples, a sample
is the nearest voxel (design [100]).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vae_loc.preprocessing.regions import Box, largest_component
from vae_loc.system.onnx_runtime import session
from vae_loc.vocabulary import BoolArray, FloatArray

NETWORKS = Path(__file__).parent / "deepbet"
BOX_SIDE, BRAIN_SIDE = 128, 256  # of the networks' masks; their inputs are half as fine
SLAB = 8  # planes of the first and the last layers at once
FINE_CHANNELS = 8  # of the finest voxels
FIRST_REACH = 2  # planes that the first layer looks at beside one
NORM_EPSILON = 1e-5  # of the instance normalisation
INPUT_PERCENTILES = (0.5, 99.5)  # of the whole volume, where intensities are clipped
INPUT_MEAN, INPUT_SD = 0.449, 0.226  # of what the networks learned from
MIN_PLANE_SHARE = 0.02  # of a plane of the small volume that is brain, from which on it belongs to the box
BOX_MARGIN = 0.1  # of the box's sides, on both ends
Layer = Callable[[dict[str, FloatArray]], list[FloatArray]]


class NoBrain(Exception):
    """A volume holds no brain; the message names the thing found instead."""


def extract_brain(data: FloatArray) -> BoolArray:
    """Return the mask of the brain in a head, bool (I, J, K).

    Parameters
    ----------
    data : float32 (I, J, K), axes to the right, the front and the top (RAS+), any unit

    Raises
    ------
    NoBrain : if there is none.

    Does not look whether what it finds has the size and shape of a brain.
    """
    whole = (slice(0, data.shape[0]), slice(0, data.shape[1]), slice(0, data.shape[2]))
    shown = data[np.ix_(*(_nearest(BOX_SIDE, n) for n in data.shape))]
    low, high = (float(edge) for edge in np.percentile(shown, INPUT_PERCENTILES))
    box = _box(_found("box", _halved(data, whole, BOX_SIDE, (low, high))), data.shape)
    found = _found("brain", _halved(data, box, BRAIN_SIDE, (low, high)))
    brain = np.zeros(data.shape, dtype=bool)
    brain[box] = found[np.ix_(*(_nearest(span.stop - span.start, BRAIN_SIDE) for span in box))]
    return brain


def _box(brain: BoolArray, shape: tuple[int, ...]) -> Box:
    """Return the box of the largest part of a small brain mask, wider by `BOX_MARGIN`, in the voxels of the volume."""
    largest = largest_component(brain, fully_connected=True)
    spans = []
    for axis, count in enumerate(shape):
        planes = np.flatnonzero(largest.mean(axis=tuple({0, 1, 2} - {axis})) > MIN_PLANE_SHARE)
        if not len(planes):
            raise NoBrain("no brain")
        scale = count / len(brain)
        centre = round(scale * (planes[-1] + 1 + planes[0]) / 2)
        side = round((1 + 2 * BOX_MARGIN) * scale * (planes[-1] + 1 - planes[0]))
        spans.append(slice(max(0, int(centre - side / 2)), min(count, int(centre + side / 2))))
    return spans[0], spans[1], spans[2]


def _halved(data: FloatArray, box: Box, side: int, window: tuple[float, float]) -> FloatArray:
    """Return a box of a volume at half of `side` along each axis, float32, in the mean and spread that networks expect.

    Each voxel is the mean of 2x2x2 nearest voxels, whose intensities are clipped to a window.
    """
    halved = data[box]
    for axis, count in enumerate(halved.shape):
        first, second = (halved.take(_nearest(side, count)[half::2], axis) for half in (0, 1))
        halved = first + second if axis else np.clip(first, *window) + np.clip(second, *window)
    sd = float(halved.std(dtype=np.float64)) or 1.0
    halved -= np.float32(halved.mean(dtype=np.float64))
    return halved * np.float32(INPUT_SD / sd) + np.float32(INPUT_MEAN)


def _nearest(count: int, of: int) -> NDArray[np.intp]:
    """Return the indices of those of `of` voxels that are nearest to the middles of `count` even parts."""
    return np.floor((np.arange(count) + 0.5) * of / count).astype(np.intp)


def _found(name: str, halved: FloatArray) -> BoolArray:
    """Return the brain that one of the networks finds in a halved volume (N, N, N), bool (2 N, 2 N, 2 N).

    It is loaded anew for each scan, which takes 0.02 s: its memory would stay beside that of all that follows.
    """
    first, middle, *last = (
        partial(session((NETWORKS / f"{name}{part}.onnx").read_bytes()).run, None)
        for part in ("_first", "", "_blocks", "_fine", "_last")
    )
    coarse = middle({"x": _first_layer(first, halved)})[0]
    del first, middle  # and their memory
    return _last_layers(coarse, *last)


def _first_layer(layer: Layer, volume: FloatArray) -> FloatArray:
    """Return the first layer of a volume (N, N, N), pooled, float32 (1, C, N/2, N/2, N/2)."""
    padded = np.pad(volume, ((FIRST_REACH, FIRST_REACH), (0, 0), (0, 0)))
    pooled, moments, before = [], [], None
    for at in range(0, len(volume), SLAB):
        planes, *sums = layer({"planes": padded[at : at + SLAB + 2 * FIRST_REACH]})
        # the greatest of three planes for every second
        greatest = np.maximum(planes[::2], planes[1::2])
        np.maximum(greatest[1:], planes[1:-1:2], out=greatest[1:])
        if before is not None:
            np.maximum(greatest[0], before, out=greatest[0])
        before = planes[-1]
        pooled.append(greatest.swapaxes(0, 1))
        moments.append(sums)
    return _rectified(np.concatenate(pooled, axis=1), moments, volume.size)[None]


def _last_layers(coarse: FloatArray, to_blocks: Layer, to_fine: Layer, to_brain: Layer) -> BoolArray:
    """Return the brain, bool (2 N, 2 N, 2 N), from features at a quarter of its resolution (1, C, N/2, N/2, N/2)."""
    rows, sides, size = SLAB // 2, coarse.shape[2:], 8 * coarse[0, 0].size
    kept = np.empty((sides[0] // rows, 8 * FINE_CHANNELS, rows, *sides[1:]), dtype=np.float32)  # blocks, later voxels
    padded = np.pad(coarse, ((0, 0), (0, 0), (0, 1), (0, 0), (0, 0)))
    moments = []
    for at, slab in enumerate(kept):
        (slab[:],), *sums = to_blocks({"x": padded[:, :, rows * at : rows * (at + 1) + 1]})
        moments.append([of.reshape(FINE_CHANNELS, 8).sum(axis=1) for of in sums])  # eight are one, at eight voxels
    for slab in kept:
        _rectified(slab.reshape(FINE_CHANNELS, -1), moments, size)
    # each slab with a row of both its neighbours
    before = end = np.zeros_like(kept[0, :, :1])
    moments = []
    for at, slab in enumerate(kept, 1):
        after = kept[at, :, :1] if at < len(kept) else end
        values, *sums = to_fine({"x": np.concatenate((before, slab, after), axis=1)[None]})
        before = slab[:, -1:].copy()
        slab[:] = values.reshape(slab.shape)
        moments.append(sums)
    parts = (_rectified(slab.reshape(values.shape[1:]), moments, size)[None] for slab in kept)
    return np.concatenate([to_brain({"x": part})[0] for part in parts])


def _rectified(values: FloatArray, moments: Sequence[Sequence[NDArray[np.float32]]], count: int) -> FloatArray:
    """Bring channels (C, ...) in place to mean 0 and spread 1, by sums of parts and their squares, and cut at 0."""
    mean, square = np.array(moments, dtype=np.float64).sum(axis=0) / count
    gain = 1 / np.sqrt(np.maximum(square - mean**2, 0) + NORM_EPSILON)
    across = (slice(None), *[None] * (values.ndim - 1))
    values -= mean.astype(np.float32)[across]
    values *= gain.astype(np.float32)[across]
    return np.maximum(values, 0, out=values)
