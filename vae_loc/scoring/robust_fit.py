"""What lets no lesion have a say: a scan's own scale by median and MAD, and the bisquare fit.

Beaton & Tukey 1974, doi:10.1080/00401706.1974.10489171.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from vae_loc.vocabulary import BoolArray, FloatArray

SD_PER_MAD = 1.4826  # of a normal distribution
ITERATIONS = 12  # of the reweighted fit
FITTED_VOXELS = 8000  # evenly spaced; more do not change a field of 7 terms, or 20 modes


def own_scale(values: FloatArray, mask: BoolArray) -> FloatArray:
    """Return values in robust standard deviations from the median of `mask`, float32 (I, I, I), 0 outside.

    (x - median) / (1.4826 MAD) over the voxels of the mask.
    """
    inside = values[mask]
    if not inside.size:
        return np.zeros_like(values)
    median = np.median(inside)
    spread = SD_PER_MAD * np.median(np.abs(inside - median)) or float(inside.std()) or 1.0
    result: FloatArray = np.where(mask, (values - median) / spread, 0).astype(np.float32)
    return result


def robust_fit(
    columns: NDArray[np.floating[Any]], values: NDArray[np.floating[Any]], *, cut_sd: float, ridge: float = 1e-6
) -> NDArray[np.float64]:
    """Return the terms, float64 (P,), of the bisquare fit of `columns` (N, P) to `values` (N,).

    Parameters
    ----------
    cut_sd : robust standard deviations of what is left over, from which on a voxel has no say
    ridge : added to the diagonal of the normal equations
    """
    step = max(1, len(values) // FITTED_VOXELS)
    some, goal = columns[::step].astype(np.float64), values[::step].astype(np.float64)
    diagonal = ridge * np.eye(columns.shape[1])
    weight = np.ones(len(goal))
    for _ in range(ITERATIONS):
        weighted = some * weight[:, None]
        terms = np.linalg.solve(weighted.T @ some + diagonal, weighted.T @ goal)
        off = goal - some @ terms
        spread = SD_PER_MAD * float(np.median(np.abs(off))) or 1.0
        weight = np.maximum(1 - (off / (cut_sd * spread)) ** 2, 0) ** 2
    return np.asarray(terms, dtype=np.float64)
