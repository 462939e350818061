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
from vae_loc.vocabulary import BoolArray, FloatArray

MADE_CONTRASTS = ("t1", "t2", "flair")
FLUID_PERCENTILE, WHITE_PERCENTILE = 2, 90  # of a T1 brain
# T1 intensity of nothing, fluid, grey, white and the brightest white matter; white matter is near 1
T1_LANDMARKS = (0.0, 0.22, 0.62, 0.95, 1.25)
FLUID_T1, WHITE_T1 = T1_LANDMARKS[1], 1.0
GAMMA_RANGE = (0.75, 1.3)  # of T1: scanners and sequences differ by about this
VENTRICLE_DEPTH_MM, VENTRICLE_T1 = 12.0, 0.35  # fluid this deep is a ventricle
Rng = np.random.Generator
Appear = Callable[[CanonicalVolume], CanonicalVolume]


def appearance(canonical: CanonicalVolume, contrast: str, rng: Rng) -> CanonicalVolume:
    """Return a T1 brain with another random appearance in `contrast`: t1, t2 or flair.

    Anatomy, mask and grid stay; the intensities are standardized again, those at half the pixel likewise.
    """
    tissue = None if contrast == "t1" else np.array(_t2(rng) if contrast == "t2" else _flair(rng))
    gamma = rng.uniform(*GAMMA_RANGE) if tissue is None else 1.0
    look = replace(canonical, data=_looking(canonical, tissue, gamma))
    return look if canonical.fine is None else replace(look, fine=_looking(canonical.halved, tissue, gamma))


def _looking(canonical: CanonicalVolume, tissue: NDArray[np.float64] | None, gamma: float) -> FloatArray:
    """Return the intensities of a T1 brain with another gamma, or with other values at `T1_LANDMARKS`."""
    low, high = np.percentile(canonical.data[canonical.mask], (FLUID_PERCENTILE, WHITE_PERCENTILE))
    t1 = FLUID_T1 + (WHITE_T1 - FLUID_T1) * (canonical.data - low) / ((high - low) or 1.0)
    if tissue is None:
        return standardized((np.maximum(t1, 0) ** gamma).astype(np.float32), canonical.mask)
    values = np.interp(t1, T1_LANDMARKS, tissue)
    # beside a ventricle a voxel of half fluid, half white matter has the T1 of grey matter, and is none
    share = np.clip((t1 - FLUID_T1) / (T1_LANDMARKS[3] - FLUID_T1), 0, 1)
    border = _ventricle_border(t1, canonical)
    values = np.where(border, tissue[1] + (tissue[3] - tissue[1]) * share, values)
    return standardized(values.astype(np.float32), canonical.mask)


def appearance_of(subject: str, contrast: str, *, seed: int = 0, variant: int = 0) -> Appear:
    """Return how a subject is made to look: random, but the same for the same seed, subject and variant."""
    name = int.from_bytes(hashlib.sha256(subject.encode()).digest()[:4], "little")
    rng = np.random.default_rng([seed, name, variant])
    return lambda canonical: appearance(canonical, contrast, rng)


def _t2(rng: Rng) -> NDArray[np.float64]:
    """Fluid brightest, grey matter, white matter."""
    fluid, grey = rng.uniform(1.5, 2.4), rng.uniform(0.95, 1.15)
    white = grey * rng.uniform(0.6, 0.85)
    return np.array([fluid, fluid * rng.uniform(0.9, 1.0), grey, white, white * rng.uniform(0.85, 1.0)])


def _flair(rng: Rng) -> NDArray[np.float64]:
    """Fluid suppressed, grey matter a little above white."""
    fluid, grey = rng.uniform(0.1, 0.35), rng.uniform(0.9, 1.1)
    white = grey * rng.uniform(0.72, 0.95)
    return np.array([fluid, fluid * rng.uniform(1.0, 1.2), grey, white, white * rng.uniform(0.95, 1.05)])


def _ventricle_border(t1: FloatArray, canonical: CanonicalVolume) -> BoolArray:
    from scipy.ndimage import binary_dilation

    mask = canonical.mask
    ventricles = without_thin_parts(
        mask & (t1 < VENTRICLE_T1) & (depth_mm(mask, canonical.grid.pixel_mm) > VENTRICLE_DEPTH_MM)
    )
    result: BoolArray = binary_dilation(ventricles, np.ones((3, 3, 3))) & mask
    return result
