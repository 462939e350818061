"""Sorted scores of many subjects in one temporary file, so that a cohort never sits in memory.

4 bytes for each brain voxel and map on disk, in TMPDIR; in memory only what is ranked at the moment.
"""

from __future__ import annotations

import numpy as np

from vae_loc.system.array_store import ArrayStore
from vae_loc.vocabulary import BoolArray, FloatArray

Sides = tuple[list[FloatArray], list[FloatArray]]  # lesion voxels and other voxels, one part for each scan


class ScoreStore:
    """The sorted scores of each map, scan by scan, memory-mapped from a store of arrays."""

    def __init__(self, arrays: ArrayStore) -> None:
        self._arrays = arrays
        self._parts: dict[str, Sides] = {}

    def add(self, name: str, labels: BoolArray, scores: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Store one scan's scores (N,) of a map; return those of lesion and of other voxels, ascending."""
        lesion, other = (self._arrays.kept(np.sort(scores[of]).astype(np.float32)) for of in (labels, ~labels))
        for parts, side in zip(self._parts.setdefault(name, ([], [])), (lesion, other), strict=True):
            parts.append(side)
        return lesion, other

    def parts(self, name: str) -> Sides:
        """Return the scores of lesion and of other voxels, float32 (N,) ascending, of each scan in turn."""
        return self._parts.get(name, ([], []))
