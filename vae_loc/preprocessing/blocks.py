"""Fine voxels joined to blocks of about 2 mm: a fine scan is then prepared as a coarse one is, and as fast."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vae_loc.preprocessing.regions import Box
from vae_loc.vocabulary import FloatArray

BLOCK_MM = 2.0  # the resolution of the scans that the shipped models learned from


@dataclass(frozen=True)
class Blocks:
    """A part of a volume, cut into blocks.

    Attributes
    ----------
    box : slices of the volume that the blocks cover, cut at its borders
    before, after : voxels along each axis by which the blocks reach beyond the volume
    size : voxels of a block along each axis
    """

    box: Box
    before: tuple[int, ...]
    after: tuple[int, ...]
    size: tuple[int, ...]

    def means(self, values: NDArray[np.float32] | NDArray[np.uint8]) -> FloatArray:
        """Return the mean of each block, float32, for values of the box; 0 stands for what lies beyond the volume."""
        joined: NDArray[Any] = values
        if values.dtype == np.uint8 and np.prod(self.size) > np.iinfo(np.uint8).max:
            joined = values.astype(np.uint16)  # holds the sum of ones of a block of the finest voxels taken, 0.05 mm
        if any(self.before) or any(self.after):
            joined = np.pad(joined, list(zip(self.before, self.after, strict=True)))
        for axis, size in enumerate(self.size):
            parts = [joined[(slice(None),) * axis + (slice(part, None, size),)] for part in range(size)]
            joined = parts[0] if size == 1 else np.add(parts[0], parts[1])
            for part in parts[2:]:
                joined += part
        return joined.astype(np.float32) * np.float32(1 / np.prod(self.size))

    def affine(self, affine: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the affine of the array of blocks, float64 (4, 4), for that of the volume."""
        first = np.array([span.start for span in self.box]) - self.before
        cut = affine.copy()
        cut[:3, 3] += affine[:3, :3] @ (first + (np.array(self.size) - 1) / 2)
        cut[:3, :3] *= self.size
        return cut

    def spacing_mm(self, spacing_mm: tuple[float, float, float]) -> tuple[float, ...]:
        """Return the edges of a block in mm."""
        return tuple(edge * size for edge, size in zip(spacing_mm, self.size, strict=True))


def blocks_around(
    box: Box, centre: NDArray[np.float64], shape: tuple[int, ...], spacing_mm: tuple[float, float, float]
) -> Blocks:
    """Return the blocks that cover a box and a rim of one block.

    Their borders are counted from the one nearest to `centre`, so that a flipped volume has the flipped blocks.

    Parameters
    ----------
    box : part of a volume of this `shape`
    centre : float64 (3,), in voxels, of the brain
    """
    spans, before, after, sizes = [], [], [], []
    for span, middle, count, edge in zip(box, centre, shape, spacing_mm, strict=True):
        size = max(1, int(BLOCK_MM / edge + 1e-3))
        border = int(np.floor(middle)) + 1  # first voxel of a block
        first = border + size * ((span.start - border) // size - 1)
        last = border + size * (-(-(span.stop - border) // size) + 1)
        spans.append(slice(max(first, 0), min(last, count)))
        before.append(max(-first, 0))
        after.append(max(last - count, 0))
        sizes.append(size)
    return Blocks((spans[0], spans[1], spans[2]), tuple(before), tuple(after), tuple(sizes))
