"""Scans that are needed more than once, read once: brain and low-passed intensities, kept in a temporary file."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vae_loc.preprocessing.canonical import CanonicalVolume, SmoothBrain, all_from_canonical, smooth_brain
from vae_loc.preprocessing.open_scan import Scan
from vae_loc.system.array_store import ArrayStore
from vae_loc.vocabulary import BoolArray, FloatArray


@dataclass(frozen=True)
class PreparedScan:
    """Arrays that are kept of a scan: enough for any canonical grid of one image size, and for the way back.

    Attributes
    ----------
    path, affine, shape : of the scan on disk
    smooth : the brain at the resolution of the canonical grid
    packed : the brain mask, 8 voxels in a byte
    """

    path: Path
    affine: NDArray[np.float64]
    shape: tuple[int, ...]
    smooth: SmoothBrain
    packed: NDArray[np.uint8]

    @property
    def brain(self) -> BoolArray:
        """The brain mask, bool (I, J, K) on the scan's own grid."""
        bits = np.unpackbits(self.packed, count=int(np.prod(self.shape)))
        return bits.astype(bool).reshape(self.shape)

    def on_own_grid(self, maps: list[FloatArray], canonical: CanonicalVolume) -> list[FloatArray]:
        """Bring maps from the canonical grid back, float32 (I, J, K) each, zero outside the brain."""
        return all_from_canonical(maps, canonical, self.affine, self.brain)


def prepare_scan(scan: Scan, *, image_size: int, store: ArrayStore) -> PreparedScan:
    """Low-pass a scan's brain for a canonical grid, and keep it.

    Raises
    ------
    UnusableInput : if the brain is too small or of one intensity, or TMPDIR is full.
    """
    smooth = smooth_brain(scan.volume, scan.brain, image_size=image_size)
    kept = replace(
        smooth,
        summed=store.kept(smooth.summed),
        weight=store.kept(smooth.weight),
        fine_summed=store.kept(smooth.fine_summed),
        fine_weight=store.kept(smooth.fine_weight),
    )
    packed = store.kept(np.packbits(scan.brain))
    return PreparedScan(scan.volume.path, scan.volume.affine, scan.brain.shape, kept, packed)
