"""A map of how much like a made lesion each voxel is, by a small judge that a model has learned (design [98]).

    h   = asinh((f - centre) / scale)      f, the features of a voxel
    h   = max(h W + b, 0)                  for each layer but the last
    l   = h w + b                          log-odds, smoothed over the brain by `JUDGE_FWHM_MM`
    map = sign(z') log(1 + exp(l))         z' of the residual

The features are the z' of the residual and of the intensity, with and without healthy modes, of the log of KL-Grad and
of the intensity at half the pixel, the intensity on the scan's own scale, neighbourhoods and the mirrored place.
`training.learned_judge` makes the judge from healthy brains alone.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from vae_loc.model.facts import Facts
from vae_loc.preprocessing.canonical import FIELD_OF_VIEW_MM
from vae_loc.preprocessing.resampling import FWHM_PER_SIGMA
from vae_loc.preprocessing.smoothing import smoothed
from vae_loc.vocabulary import LEARNED, BoolArray, FloatArray, Method

Judge = Mapping[str, FloatArray]  # centre and scale (F,); of layer N, N.weight (inputs, outputs) and N.bias (outputs,)

JUDGE_FWHM_MM = 7.0  # of the log-odds: a voxel is no lesion alone
MAX_Z = 60.0  # of a feature
MIN_HOSTS = 20  # healthy people with made lesions; of fewer no judge is learned
# the Gaussians of each z' in pixels (sigma); of 3 mm, 2 to 8 are 6 to 24 mm
NEIGHBOURHOODS = {"residual": (2, 4, 8), "intensity": (2, 4, 8), "kl": (2, 4), "fine": (1, 2, 4)}
MIRRORED = ("residual", "residual.2", "intensity", "fine", "fine.2")
SPREADS = ("residual", "fine")  # their standard deviation in a neighbourhood of 2 pixels


def judge_features(maps: Mapping[str, FloatArray], mask: BoolArray) -> dict[str, FloatArray]:
    """Return the features of each brain voxel by name, float32 (N,) each, in the order of `mask`.

    Parameters
    ----------
    maps : float32 (I, I, I) by name, as `normalised_maps.judged_maps` returns them
    mask : bool (I, I, I), the brain; its first axis runs from left to right
    """
    pixel_mm = FIELD_OF_VIEW_MM / len(mask)

    def around(values: FloatArray, sigma: float) -> FloatArray:
        return smoothed(values, mask, pixel_mm, sigma * FWHM_PER_SIGMA * pixel_mm)

    # each map and its neighbourhoods
    every = {name: np.clip(values, -MAX_Z, MAX_Z) for name, values in maps.items()}
    sigmas = sorted({(sigma, name) for name, of in NEIGHBOURHOODS.items() for sigma in of})
    every |= {f"{name}.{sigma}": around(every[name], sigma) for sigma, name in sigmas}
    # their spread, and what is on the other side
    for name in SPREADS:
        every[f"{name}.spread"] = np.sqrt(np.maximum(around(every[name] ** 2, 2) - every[f"{name}.2"] ** 2, 0))
    every |= {f"{name}.mirrored": every[name][::-1] for name in MIRRORED}
    return {name: values[mask] for name, values in every.items()}


def log_odds(features: FloatArray, judge: Judge) -> FloatArray:
    """Return the log-odds of a made lesion, float32 (N,), by the features (N, F)."""
    hidden = np.arcsinh((features - judge["centre"]) / judge["scale"])
    last = len(judge) // 2 - 2  # beside centre and scale, two arrays for each layer
    for layer in range(last + 1):
        hidden = hidden @ judge[f"{layer}.weight"] + judge[f"{layer}.bias"]
        hidden = hidden if layer == last else np.maximum(hidden, 0)
    result: FloatArray = hidden[:, 0].astype(np.float32)
    return result


def likeness_counts(method: Method, facts: Facts) -> bool:
    """Return whether the learned map counts for a map's strengths: for Combi's, if the judge learned in real scans."""
    return method == "combi" and facts.training.synthesized_from is None


def likeness_of(maps: Mapping[Method, FloatArray], method: Method, facts: Facts) -> FloatArray | None:
    """Return the magnitudes of the learned map where they count for a map's strengths; None without (design [99])."""
    return np.abs(maps[LEARNED]) if LEARNED in maps and likeness_counts(method, facts) else None


def learned_map(maps: Mapping[str, FloatArray], mask: BoolArray, judge: Judge) -> FloatArray:
    """Return the map, float32 (I, I, I), with the sign of `residual`, 0 outside the brain.

    Parameters
    ----------
    maps, mask : as `judge_features` takes them
    """
    odds = np.zeros(mask.shape, dtype=np.float32)
    odds[mask] = log_odds(np.stack(list(judge_features(maps, mask).values()), axis=1), judge)
    even = smoothed(odds, mask, FIELD_OF_VIEW_MM / len(mask), JUDGE_FWHM_MM)
    result: FloatArray = np.where(mask, np.copysign(np.logaddexp(0, even), maps["residual"]), 0).astype(np.float32)
    return result
