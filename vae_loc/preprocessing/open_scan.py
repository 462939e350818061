"""Case -> Scan: the file is read and its brain is found, by the one rule for which mask counts.

Scans that are needed more than once are read once: brain and low-passed intensities, kept in a temporary file.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vae_loc.preprocessing.brain_mask import find_brain
from vae_loc.preprocessing.canonical import SmoothBrain, smooth_brain
from vae_loc.scans.cases import Case
from vae_loc.scans.volume import Volume, read_volume
from vae_loc.system.array_store import ArrayStore
from vae_loc.vocabulary import BoolArray, BrainMask


@dataclass(frozen=True)
class Scan:
    """A scan and its brain: where all preprocessing starts.

    Attributes
    ----------
    volume : the scan as read from disk
    brain : bool (I, J, K) on the scan's own grid
    brain_source : where the brain mask came from: `file`, `none`, `skull-stripped` or `deepbet`
    """

    volume: Volume
    brain: BoolArray
    brain_source: str

    @property
    def brain_ml(self) -> float:
        """Volume of the brain mask in ml."""
        return float(self.brain.sum()) * self.volume.voxel_mm3 / 1000


def open_scan(case: Case, *, brain_mask: BrainMask | None = None, volume: int | None = None) -> Scan:
    """Read a scan and find its brain.

    Parameters
    ----------
    brain_mask : a mask file, `auto` or `none` for every scan; None takes the mask of the case, else `auto`
    volume : which volume of a 4D file, from 0

    Raises
    ------
    UnusableInput : if scan or mask cannot be used, or no plausible brain is found.
    """
    return with_brain(read_volume(case.scan, volume=volume), counting_mask(case, brain_mask))


def with_brain(volume: Volume, how: BrainMask) -> Scan:
    """Return a scan with its brain, found as asked for; see `find_brain`."""
    brain, source = find_brain(volume, how)
    return Scan(volume, np.asfortranarray(brain), source)  # as NIfTI stores it, like the scan


def counting_mask(case: Case, brain_mask: BrainMask | None) -> BrainMask:
    """Return the mask that counts for a case: the one asked for, else the one beside the scan, else `auto`.

    >>> from pathlib import Path
    >>> counting_mask(Case(Path("a_t1.nii"), "a", Path("a_brainmask.nii")), None).name
    'a_brainmask.nii'
    """
    return brain_mask or case.brain_mask or "auto"


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


def prepare_scan(scan: Scan, *, image_size: int, store: ArrayStore) -> PreparedScan:
    """Low-pass a scan's brain for a canonical grid, and keep it.

    Raises
    ------
    UnusableInput : if the brain is too small or of one intensity, or TMPDIR is full.
    """
    smooth = smooth_brain(scan.volume, scan.brain, image_size=image_size)
    coarse, fine = (tuple(store.kept(values) for values in pair) for pair in (smooth.coarse, smooth.fine))
    kept = replace(smooth, coarse=coarse, fine=fine)
    packed = store.kept(np.packbits(scan.brain))
    return PreparedScan(scan.volume.path, scan.volume.affine, scan.brain.shape, kept, packed)
