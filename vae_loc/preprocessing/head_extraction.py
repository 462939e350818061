"""Whole head -> brain, by the networks of deepbet, run by onnxruntime (`deepbet/README.md`).

Fisch et al. 2024, doi:10.1016/j.compbiomed.2024.108845 (MIT). They learned from T1 of adults. One network finds the
brain in the whole volume at 128^3; the other looks at that box at 256^3. A sample is the nearest voxel, as in deepbet.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vae_loc.preprocessing.regions import Box, largest_component
from vae_loc.system.onnx_runtime import session
from vae_loc.vocabulary import BoolArray, FloatArray

NETWORKS = Path(__file__).parent / "deepbet"
BOX_SIDE, BRAIN_SIDE = 128, 256  # of the networks' inputs
INPUT_PERCENTILES = (0.5, 99.5)  # of the whole volume, where intensities are clipped
MEAN, SD = 0.449, 0.226  # of what the networks learned from
MIN_PLANE_SHARE = 0.02  # of a plane of the small volume that is brain, from which on it belongs to the box
MARGIN = 0.1  # of the box's sides, on both ends


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
    small = _blocks(data, whole, BOX_SIDE)
    low, high = (float(edge) for edge in np.percentile(small, INPUT_PERCENTILES))
    box = _box(_network("box")(_normalised(small, low, high)) > 0, data.shape)
    logits = _network("brain")(_normalised(_blocks(data, box, BRAIN_SIDE), low, high))
    brain = np.zeros(data.shape, dtype=bool)
    back = [_nearest(span.stop - span.start, BRAIN_SIDE) for span in box]
    brain[box] = logits[np.ix_(*back)] > 0
    return brain


def _box(brain: BoolArray, shape: tuple[int, ...]) -> Box:
    """Return the box of the largest part of a small brain mask, wider by `MARGIN`, in the voxels of the volume."""
    largest = largest_component(brain, fully_connected=True)
    spans = []
    for axis, count in enumerate(shape):
        planes = np.flatnonzero(largest.mean(axis=tuple({0, 1, 2} - {axis})) > MIN_PLANE_SHARE)
        if not len(planes):
            raise NoBrain("no brain")
        scale = count / len(brain)
        centre = round(scale * (planes[-1] + 1 + planes[0]) / 2)
        side = round((1 + 2 * MARGIN) * scale * (planes[-1] + 1 - planes[0]))
        spans.append(slice(max(0, int(centre - side / 2)), min(count, int(centre + side / 2))))
    return spans[0], spans[1], spans[2]


def _blocks(data: FloatArray, box: Box, side: int) -> FloatArray:
    """Return a box of a volume at `side` nearest voxels along each axis, as blocks of 2x2x2: float32 (8, N, N, N)."""
    rows = [span.start + _nearest(side, span.stop - span.start) for span in box]
    blocks = np.empty((8, side // 2, side // 2, side // 2), dtype=np.float32)
    for channel, (i, j, k) in enumerate(itertools.product((0, 1), repeat=3)):
        blocks[channel] = data[np.ix_(rows[0][i::2], rows[1][j::2], rows[2][k::2])]
    return blocks


def _nearest(count: int, of: int) -> NDArray[np.intp]:
    """Return the indices of those of `of` voxels that are nearest to the middles of `count` even parts."""
    return np.floor((np.arange(count) + 0.5) * of / count).astype(np.intp)


def _normalised(data: FloatArray, low: float, high: float) -> FloatArray:
    """Return intensities clipped to a window, with the mean and spread that the networks learned from, in place."""
    np.clip(data, low, high, out=data)
    data -= np.float32(low)
    mean = float(data.mean(dtype=np.float64))
    squares = sum(float(np.vdot(channel, channel)) for channel in data)
    sd = np.sqrt(max(squares / data.size - mean**2, 0.0)) or 1.0
    data *= np.float32(SD / sd)
    data += np.float32(MEAN - mean * SD / sd)
    return data


@functools.cache
def _network(name: str) -> Callable[[FloatArray], FloatArray]:
    """Return one of the networks, blocks (8, N, N, N) -> logits (2 N, 2 N, 2 N), loaded once in a process."""
    run = session((NETWORKS / f"{name}.onnx").read_bytes())

    def logits(blocks: FloatArray) -> FloatArray:
        values: FloatArray = run.run(None, {"x": blocks[None]})[0][0, 0]
        return values

    return logits
