"""Smoothing on the canonical grid, over brain pixels only, so that the brain's border is not darkened."""

from __future__ import annotations

import functools

import numpy as np

from vae_loc.preprocessing.regions import bounding_box
from vae_loc.preprocessing.resampling import FWHM_PER_SIGMA, low_passed
from vae_loc.vocabulary import BoolArray, FloatArray

SMOOTHING_FWHM_MM = (4.0, 14.0)  # a small lesion stays, a large one is gathered
WIDE_SHARE = 0.8  # of the wider scale in the sum


def smoothed(values: FloatArray, mask: BoolArray, pixel_mm: float, fwhm_mm: float) -> FloatArray:
    """Smooth a map by a 3D Gaussian, over brain pixels only.

    Parameters
    ----------
    values : float32 (I, I, I), any unit
    mask : bool (I, I, I), the brain; the result is 0 outside
    pixel_mm, fwhm_mm : edge of a pixel, and full width at half maximum of the Gaussian
    """
    result: FloatArray = np.zeros_like(values)
    box = bounding_box(mask) if mask.any() else np.s_[:1, :1, :1]  # all outside
    inside = mask[box]
    sigmas = (fwhm_mm / FWHM_PER_SIGMA / pixel_mm,) * 3
    weight = _smooth_weight(np.packbits(inside).tobytes(), inside.shape, sigmas)
    np.divide(low_passed(values[box] * inside, sigmas), weight, out=result[box], where=inside)
    return result


@functools.lru_cache(maxsize=8)
def _smooth_weight(packed: bytes, shape: tuple[int, ...], sigmas: tuple[float, ...]) -> FloatArray:
    """Return a smoothed mask: several maps of one brain need the same."""
    mask = np.unpackbits(np.frombuffer(packed, dtype=np.uint8), count=int(np.prod(shape))).reshape(shape)
    return low_passed(mask.astype(np.float32), sigmas)


def two_scales(values: FloatArray, mask: BoolArray, pixel_mm: float) -> FloatArray:
    """Smooth a map, float32 (I, I, I), by the Gaussians of `SMOOTHING_FWHM_MM`, in one sum; see `smoothed`."""
    narrow, wide = (smoothed(values, mask, pixel_mm, fwhm_mm) for fwhm_mm in SMOOTHING_FWHM_MM)
    return np.float32(1 - WIDE_SHARE) * narrow + np.float32(WIDE_SHARE) * wide
