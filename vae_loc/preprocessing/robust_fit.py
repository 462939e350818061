"""Estimates of scale and fit that a lesion does not change: median and MAD, and the bisquare fit (M-estimators).

Beaton & Tukey 1974, doi:10.1080/00401706.1974.10489171.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from vae_loc.vocabulary import BoolArray, FloatArray

SD_PER_MAD = 1.4826  # of a normal distribution
# robust standard deviations of the residual beyond which a voxel has no weight
REGISTRATION_CUT_SD = 6.0  # of a brain's alignment: much differs between two people
MODES_CUT_SD = 2.5  # of the fit of healthy modes
FIELD_CUT_SD = 2.0  # of a scan's own field, and of its tissues: disease is large
FIT_ITERATIONS = 12  # of the reweighted fit
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


def bisquare(residual: NDArray[np.floating[Any]], reach: float) -> NDArray[np.floating[Any]]:
    """Return Tukey's weights (1 - (r / reach)^2)^2 of residuals (N,), 0 beyond `reach`.

    >>> bisquare(np.array([0.0, 1.0, 3.0]), 2.0).tolist()
    [1.0, 0.5625, 0.0]
    """
    weight: NDArray[np.floating[Any]] = np.maximum(1 - (residual / reach) ** 2, 0) ** 2
    return weight


def robust_fit(
    columns: NDArray[np.floating[Any]], values: NDArray[np.floating[Any]], *, cut_sd: float, ridge: float = 1e-6
) -> NDArray[np.float64]:
    """Return the terms, float64 (P,), of the bisquare fit of `columns` (N, P) to `values` (N,).

    Parameters
    ----------
    cut_sd : robust standard deviations of the residual, beyond which a voxel has no weight
    ridge : added to the diagonal of the normal equations
    """
    step = max(1, len(values) // FITTED_VOXELS)
    some, goal = columns[::step].astype(np.float64), values[::step].astype(np.float64)
    diagonal = ridge * np.eye(columns.shape[1])
    weight: NDArray[np.floating[Any]] = np.ones(len(goal))
    for _ in range(FIT_ITERATIONS):
        weighted = some * weight[:, None]
        terms = np.linalg.solve(weighted.T @ some + diagonal, weighted.T @ goal)
        off = goal - some @ terms
        spread = SD_PER_MAD * float(np.median(np.abs(off))) or 1.0
        weight = bisquare(off, cut_sd * spread)
    return np.asarray(terms, dtype=np.float64)
