"""One healthy brain -> how it might look on another scanner, or in another contrast (design [27]).

Tissue values are drawn at random and joined by straight lines over the T1 intensity: cerebrospinal
fluid, grey matter, white matter. No healthy T2 or FLAIR cohort is needed; lesions, iron and
flow have no place in it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from vae_loc.preprocessing.canonical import CanonicalVolume, standardized
from vae_loc.preprocessing.regions import depth_mm, without_thin_parts
from vae_loc.vocabulary import FloatArray

MADE_CONTRASTS = ("t1", "t2", "flair")
# T1 intensity of nothing, fluid, grey, white and the brightest white matter; white matter is near 1
T1_LANDMARKS = (0.0, 0.22, 0.62, 0.95, 1.25)
FLUID_T1, WHITE_T1 = T1_LANDMARKS[1], 1.0
GAMMA_RANGE = (0.75, 1.3)  # of T1: scanners and sequences differ by about this
# of fluid and grey matter; and factors: white by grey matter, the second landmark of fluid, and of white, by the first
TISSUE_RANGES = {
    "t2": ((1.5, 2.4), (0.95, 1.15), (0.6, 0.85), (0.9, 1.0), (0.85, 1.0)),  # fluid brightest, then grey, white
    "flair": ((0.1, 0.35), (0.9, 1.1), (0.72, 0.95), (1.0, 1.2), (0.95, 1.05)),  # fluid dark, grey a little above white
}
VENTRICLE_DEPTH_MM, VENTRICLE_T1 = 12.0, 0.35  # fluid this deep is a ventricle
Appear = Callable[[CanonicalVolume], CanonicalVolume]


def appearance(canonical: CanonicalVolume, contrast: str, rng: np.random.Generator) -> CanonicalVolume:
    """Return a T1 brain with another random appearance in `contrast`: t1, t2 or flair.

    Anatomy, mask and grid stay; the intensities are standardized again, those at half the pixel likewise.
    """
    tissue, gamma = None, 1.0
    if contrast == "t1":
        gamma = rng.uniform(*GAMMA_RANGE)
    else:
        fluid, grey, white, more_fluid, more_white = (rng.uniform(*limits) for limits in TISSUE_RANGES[contrast])
        white *= grey
        tissue = np.array([fluid, fluid * more_fluid, grey, white, white * more_white])
    look = replace(canonical, data=_looking(canonical, tissue, gamma))
    return look if canonical.fine is None else replace(look, fine=_looking(canonical.halved, tissue, gamma))


def _looking(canonical: CanonicalVolume, tissue: NDArray[np.float64] | None, gamma: float) -> FloatArray:
    """Return the intensities of a T1 brain with another gamma, or with other values at `T1_LANDMARKS`."""
    from scipy.ndimage import binary_dilation

    low, high = np.percentile(canonical.data[canonical.mask], (2, 90))  # of fluid and of white matter
    t1 = FLUID_T1 + (WHITE_T1 - FLUID_T1) * (canonical.data - low) / ((high - low) or 1.0)
    if tissue is None:
        return standardized((np.maximum(t1, 0) ** gamma).astype(np.float32), canonical.mask)
    values = np.interp(t1, T1_LANDMARKS, tissue)
    # beside a ventricle a voxel of half fluid, half white matter has the T1 of grey matter, and is none
    mask, share = canonical.mask, np.clip((t1 - FLUID_T1) / (T1_LANDMARKS[3] - FLUID_T1), 0, 1)
    deep = mask & (t1 < VENTRICLE_T1) & (depth_mm(mask, canonical.grid.pixel_mm) > VENTRICLE_DEPTH_MM)
    border = binary_dilation(without_thin_parts(deep), np.ones((3, 3, 3))) & mask
    values = np.where(border, tissue[1] + (tissue[3] - tissue[1]) * share, values)
    return standardized(values.astype(np.float32), canonical.mask)


def appearance_of(subject: str, contrast: str, *, seed: int = 0, variant: int = 0) -> Appear:
    """Return the change of a subject's appearance: random, but the same for the same seed, subject and variant."""
    name = int.from_bytes(hashlib.sha256(subject.encode()).digest()[:4], "little")
    rng = np.random.default_rng([seed, name, variant])
    return lambda canonical: appearance(canonical, contrast, rng)
