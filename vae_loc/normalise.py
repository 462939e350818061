"""A map -> how unusual it is for this place and this scan (design [26]).

    u = (m - median m) / (1.4826 MAD m)          over the scan's brain: its own noise and contrast
    z = (u - mean u) / sd u                      over healthy brains at the same place
    score = log(1 + exp z'), z' = z in the scan's own median and MAD again

m is a map smoothed by `smoothed_in_brain`. The last step keeps the order of z' and is positive.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from vae_loc.volume import BoolArray, FloatArray

Polarity = Literal["any", "bright", "dark"]

SD_PER_MAD = 1.4826  # of a normal distribution
PLACE_SIGMA_PIXELS = 1.0  # by which mean and spread are smoothed: 31 subjects are few
MIN_COUNT = 0.5  # smoothed number of brains; below it a place is unknown
MIN_SD_SHARE = 0.3  # of the median spread: nowhere are healthy brains all alike
Moments = NDArray[np.float64]  # (3, I, I, I): number of brains, sum, sum of squares


def own_scale(values: FloatArray, mask: BoolArray) -> FloatArray:
    """Return values in robust standard deviations from the median of `mask`, 0 outside."""
    inside = values[mask]
    median = np.median(inside)
    spread = SD_PER_MAD * np.median(np.abs(inside - median)) or float(inside.std()) or 1.0
    result: FloatArray = np.where(mask, (values - median) / spread, 0).astype(np.float32)
    return result


def moments(values: FloatArray, mask: BoolArray) -> Moments:
    """Return what one healthy brain adds to the statistics by place; `values` on the scan's own scale."""
    inside = values * mask
    return np.stack([mask, inside, inside.astype(np.float64) ** 2]).astype(np.float64)


def mean_and_sd(sums: Moments) -> tuple[FloatArray, FloatArray]:
    """Return mean and standard deviation by place, float32 (I, I, I); sd is 0 where no brain was."""
    from scipy.ndimage import gaussian_filter

    count, total, squares = (gaussian_filter(part, PLACE_SIGMA_PIXELS, mode="constant") for part in sums)
    known = count > MIN_COUNT
    mean = np.divide(total, count, out=np.zeros_like(total), where=known)
    variance = np.divide(squares, count, out=np.zeros_like(total), where=known) - mean**2
    sd = np.sqrt(np.maximum(variance, 0))
    floor = MIN_SD_SHARE * float(np.median(sd[known])) if known.any() else 1.0
    return mean.astype(np.float32), np.where(known, np.maximum(sd, floor or 1.0), 0).astype(np.float32)


def at_place(values: FloatArray, mask: BoolArray, mean: FloatArray, sd: FloatArray) -> FloatArray:
    """Return z' of a smoothed map: unusual for its place, on the scan's own scale; 0 where no healthy brain was."""
    known = mask & (sd > 0)
    z = np.zeros_like(values)
    np.divide(own_scale(values, mask) - mean, sd, out=z, where=known)
    return own_scale(z, mask)


def positive(z: FloatArray, mask: BoolArray) -> FloatArray:
    """Return log(1 + exp z), in the order of z and above 0; 0 outside `mask`."""
    result: FloatArray = np.where(mask, np.logaddexp(0, z), 0).astype(np.float32)
    return result


def with_polarity(values: FloatArray, residual: FloatArray, polarity: Polarity) -> FloatArray:
    """Return `values` only where the smoothed residual x - g(mu) has the sign asked for, else 0."""
    if polarity == "any":
        return values
    kept = residual > 0 if polarity == "bright" else residual < 0
    result: FloatArray = values * kept
    return result
