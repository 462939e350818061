"""Principal modes of healthy variation, and a map without them (design [72]).

    a  = argmin sum_x rho((z'(x) - sum_k a_k P_k(x)) / s) + |a|^2,   -3 <= a_k <= 3
    r  = z' - sum_k a_k P_k
    z" = (r - mean r) / sd r                       over healthy brains at the same place, then on the scan's own scale

P_k are the principal components of the z' of healthy brains: wide ventricles, deep sulci, shading. They are scaled so
that the coefficients of healthy brains have a standard deviation of 1. rho is Tukey's bisquare: disease is too local to
be fitted.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from vae_loc.preprocessing.robust_fit import MODES_CUT_SD, robust_fit
from vae_loc.vocabulary import BoolArray, FloatArray

MAX_MODES = 20  # 60 % of the variance of 155 brains; 5 to 40 find as much
SUBJECTS_PER_MODE = 5  # fewer brains have fewer modes
MIN_MODES = 5  # fewer are not worth their noise
MODES_CLIP_SD = 4.0  # of z' before the components are taken: one odd brain is no mode
RIDGE = 1.0
MAX_COEFFICIENT_SD = 3.0  # healthy brains have no more of a mode


def count_for(subjects: int) -> int:
    """Return how many modes so many healthy brains can tell.

    >>> count_for(191), count_for(40), count_for(20)
    (20, 8, 0)
    """
    count = min(MAX_MODES, subjects // SUBJECTS_PER_MODE)
    return count if count >= MIN_MODES else 0


def principal_modes(maps: Iterable[FloatArray], known: BoolArray, count: int) -> FloatArray:
    """Return the `count` strongest principal components of healthy maps, float32 (count, N).

    Parameters
    ----------
    maps : float32 (I, I, I), z' of a brain each, 0 outside it
    known : bool (I, I, I), the N voxels that are looked at
    """
    # a row for each brain, about their mean
    rows = np.stack([np.clip(values[known], -MODES_CLIP_SD, MODES_CLIP_SD) for values in maps])
    rows -= rows.mean(axis=0)
    # components by the small matrix of brains by brains
    variance, directions = np.linalg.eigh((rows @ rows.T).astype(np.float64))
    strongest = slice(-1, -count - 1, -1)
    loadings = directions[:, strongest] / np.sqrt(np.maximum(variance[strongest], 1e-9))
    unit = loadings.T.astype(np.float32) @ rows
    # scaled by the spread of their coefficients, with a sign that does not depend on the library
    spread = np.sqrt(np.maximum(variance[strongest], 0) / len(rows)).astype(np.float32)
    signs = np.sign(unit.sum(axis=1, dtype=np.float64)).astype(np.float32)  # else the library's choice
    modes: FloatArray = unit * (spread * np.where(signs == 0, 1, signs))[:, None]
    return modes


def without_modes(values: FloatArray, mask: BoolArray, known: BoolArray, modes: FloatArray) -> FloatArray:
    """Return z' less its robust fit by the modes, float32 (I, I, I), 0 outside.

    Parameters
    ----------
    values : float32 (I, I, I), z'
    mask : bool (I, I, I), the brain
    known, modes : as `principal_modes` takes and returns them
    """
    inside = mask[known]
    rest: FloatArray = np.zeros_like(values)
    if not inside.any():
        return rest
    columns = np.ascontiguousarray(modes[:, inside].T)
    seen = values[known][inside]
    terms = robust_fit(columns, seen, cut_sd=MODES_CUT_SD, ridge=RIDGE)
    held = np.clip(terms, -MAX_COEFFICIENT_SD, MAX_COEFFICIENT_SD).astype(np.float32)
    rest[mask & known] = seen - columns @ held
    return rest
