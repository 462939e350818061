"""CanonicalVolume <-> SliceStack: the axial slices that a VAE sees."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vae_loc.preprocessing.canonical import CanonicalVolume
from vae_loc.vocabulary import BoolArray, FloatArray

MIN_BRAIN_PIXELS = 20  # fewer in a slice of 64x64 are a sliver of a mask's edge (180 mm^2)


@dataclass(frozen=True)
class SliceStack:
    """Axial slices, inferior to superior.

    Attributes
    ----------
    pixels : float32 (S, H, W); H runs to the right (R), W to the front (A)
    mask : bool (S, H, W), the brain
    positions_mm : float64 (S,), height of each slice's middle in RAS+ mm of the scan
    indices : int (S,), where each slice lies in the canonical volume
    """

    pixels: FloatArray
    mask: BoolArray
    positions_mm: NDArray[np.float64]
    indices: NDArray[np.intp]


def to_slices(canonical: CanonicalVolume) -> SliceStack:
    """Return the axial slices that hold brain."""
    brain_pixels = canonical.mask.sum(axis=(0, 1))
    indices = np.flatnonzero(brain_pixels > 0)
    middle = (canonical.grid.shape[0] - 1) / 2
    positions = canonical.grid.affine[2, :2].sum() * middle + canonical.grid.affine[2, 2] * indices
    positions = positions + canonical.grid.affine[2, 3]
    pixels = np.ascontiguousarray(canonical.data[:, :, indices].transpose(2, 0, 1))
    mask = np.ascontiguousarray(canonical.mask[:, :, indices].transpose(2, 0, 1))
    return SliceStack(pixels, mask, positions, indices)


def substantial(stack: SliceStack) -> BoolArray:
    """Return bool (S,): slices with enough brain to train on or to count in a volume's score."""
    scaled = MIN_BRAIN_PIXELS * (stack.pixels.shape[1] / 64) ** 2
    result: BoolArray = stack.mask.sum(axis=(1, 2)) >= scaled
    return result if result.any() else np.ones(len(stack.pixels), dtype=bool)


def from_slices(values: FloatArray, stack: SliceStack, canonical: CanonicalVolume) -> FloatArray:
    """Put values (S, H, W) of the slices back into the canonical volume; zero elsewhere."""
    result = np.zeros(canonical.grid.shape, dtype=np.float32)
    result[:, :, stack.indices] = values.transpose(1, 2, 0)
    return result
