"""A score map -> how unusual it is for this place and this scan (design [34]).

    s  = two-scale smoothing of the SIGNED map over the brain
    u  = s - b, b the scan's own smooth field: robust, of second order, alike on the left and on the right
    z  = (u - mean u) / sd u                       over healthy brains at the same place
    z' = (z - median z) / (1.4826 MAD z)           over this scan's brain

A coil's shading is smooth and much the same on both sides; disease is neither. Where a model knows the modes of healthy
variation, they are taken off z' (`healthy_modes`); what is too small for z' is added at half the pixel (`fine_scale`).
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from vae_loc.preprocessing.canonical import CanonicalVolume
from vae_loc.preprocessing.resampling import block_means, low_passed
from vae_loc.preprocessing.robust_fit import FIELD_CUT_SD, own_scale, robust_fit
from vae_loc.preprocessing.smoothing import two_scales
from vae_loc.scoring.fine_scale import fine_evidence, fine_intensity, fused
from vae_loc.scoring.healthy_modes import without_modes
from vae_loc.scoring.learned_map import Judge, learned_map
from vae_loc.scoring.slice_scores import Field
from vae_loc.vocabulary import LEARNED, PLACE_Z, BoolArray, FloatArray, Method, Polarity

Moments = NDArray[np.float64]  # (3, I, I, I): number of brains, sum, sum of squares

PLACE_SIGMA_PIXELS = 1.0  # by which mean and spread are smoothed: 31 subjects are few
MIN_COUNT = 0.5  # smoothed number of brains; below it a place is unknown
MIN_BRAINS_SHARE = 0.5  # of the healthy brains; where fewer have brain, it is the border of a mask that is judged
MIN_SD_SHARE = 0.3  # of the median spread: nowhere are healthy brains all alike
FIELD_ORDER = 2  # of the polynomial of the scan's own field
KL_POWER = 0.1  # of KL-Grad in Combi; with more, faint and small lesions are lost (design [97])
LOG_SD = 0.25  # of a normalised ratio: between the 0.14 of healthy brains and the 0.3 of patients


def levelled(values: FloatArray, mask: BoolArray, expected: FloatArray | None = None) -> FloatArray:
    """Return `values` without the scan's own field: what is smooth, left-right symmetric and not disease.

    Parameters
    ----------
    values : float32 (I, I, I) on the canonical grid, whose first axis runs from left to right
    expected : the intensity that the model expects, smoothed likewise; where given, a curve of second
        order over it goes too: a synthesized contrast is never quite the scan's

    A bisquare fit: a voxel beyond `FIELD_CUT_SD` robust standard deviations has no weight.
    """
    # the terms x^a y^b z^c up to `FIELD_ORDER` that are even in x, at places in -1 ... 1
    x, y, z = (np.argwhere(mask) / ((mask.shape[0] - 1) / 2) - 1).T
    powers = itertools.product(range(0, FIELD_ORDER + 1, 2), range(FIELD_ORDER + 1), range(FIELD_ORDER + 1))
    columns = np.column_stack([x**a * y**b * z**c for a, b, c in powers if a + b + c <= FIELD_ORDER])
    if expected is not None:
        curve = expected[mask].astype(np.float64)
        columns = np.column_stack([columns, curve, curve**2])
    result = np.zeros_like(values)
    result[mask] = values[mask] - columns @ robust_fit(columns, values[mask], cut_sd=FIELD_CUT_SD)
    return result


def moments(values: FloatArray, mask: BoolArray) -> Moments:
    """Return the moments of one healthy brain by place: count, sum and sum of squares, float64 (3, I, I, I).

    Parameters
    ----------
    values : float32 (I, I, I), or (2I, 2I, 2I) at half the pixel, of which each pixel has the means of its eight
    mask : bool (I, I, I), where the brain is
    """
    if values.shape != mask.shape:
        return np.stack([mask, *(mask * block_means(of, (2, 2, 2)) for of in (values, values**2))]).astype(np.float64)
    inside = values * mask
    return np.stack([mask, inside, inside.astype(np.float64) ** 2]).astype(np.float64)


def mean_and_sd(sums: Moments) -> tuple[FloatArray, FloatArray]:
    """Return mean and standard deviation by place, float32 (I, I, I) each; sd is 0 where no brain was."""
    count, total, squares = (low_passed(part, (PLACE_SIGMA_PIXELS,) * 3) for part in sums)
    # a place is known where enough brains have it
    known = count > max(MIN_COUNT, MIN_BRAINS_SHARE * float(count.max()))
    mean = np.divide(total, count, out=np.zeros_like(total), where=known)
    variance = np.divide(squares, count, out=np.zeros_like(total), where=known) - mean**2
    sd = np.sqrt(np.maximum(variance, 0))
    # nowhere are healthy brains all alike
    floor = MIN_SD_SHARE * float(np.median(sd[known])) if known.any() else 1.0
    return mean.astype(np.float32), np.where(known, np.maximum(sd, floor or 1.0), 0).astype(np.float32)


def at_place(values: FloatArray, mask: BoolArray, mean: FloatArray, sd: FloatArray) -> FloatArray:
    """Return z' of a levelled map: unusual for its place, on the scan's own scale.

    z = (u - mean) / sd by place; z' = (z - median z) / (1.4826 MAD z) over the brain.

    Parameters
    ----------
    values : float32 (I, I, I), u
    mask : bool (I, I, I), the brain
    mean, sd : float32 (I, I, I), of healthy brains; where sd is 0 no healthy brain was, and z' is 0
    """
    return own_scale(*z_by_place(values, mask, mean, sd))


def z_by_place(values: FloatArray, mask: BoolArray, mean: FloatArray, sd: FloatArray) -> tuple[FloatArray, BoolArray]:
    """Return (u - mean) / sd by place, float32 (I, I, I), and where healthy brains tell both; 0 elsewhere."""
    known = mask & (sd > 0)
    z = np.zeros_like(values)
    np.divide(values - mean, sd, out=z, where=known)
    return z, known


def relative_to_place(values: FloatArray, mask: BoolArray, mean: FloatArray) -> FloatArray:
    """Return a positive map as a multiple of its healthy mean at the place, log-normal over the scan.

    exp(`LOG_SD` (log r - median log r) / (1.4826 MAD log r)), r = values / mean: unusual by the scan's own spread,
    since a ratio spreads more on another scanner.

    Parameters
    ----------
    values : float32 (I, I, I) >= 0
    mask : bool (I, I, I), the brain
    mean : float32 (I, I, I), of healthy brains; where it is 0 the result is 0
    """
    known = mask & (mean > 0) & (values > 0)
    return np.where(known, np.exp(LOG_SD * log_relative_to_place(values, mask, mean)), 0).astype(np.float32)


def log_relative_to_place(values: FloatArray, mask: BoolArray, mean: FloatArray) -> FloatArray:
    """Return (log r - median log r) / (1.4826 MAD log r), float32 (I, I, I), as `relative_to_place` takes it."""
    known = mask & (mean > 0) & (values > 0)
    logarithm = np.zeros_like(values)
    logarithm[known] = np.log(values[known] / mean[known])
    return own_scale(logarithm, known)


def with_polarity(signed: FloatArray, polarity: Polarity) -> FloatArray:
    """Return a signed map, float32 (I, I, I), without what is not of a polarity.

    `any` keeps both signs, `bright` only what is above 0, `dark` only what is below.
    """
    if polarity == "any":
        return signed
    return np.maximum(signed, 0) if polarity == "bright" else np.minimum(signed, 0)


Feature = Literal["residual", "rec-gradient", "elbo-gradient", "kl-magnitude", "intensity", "fine"]
Features = dict[Feature, FloatArray]
UsualAndRest = Callable[[Feature], tuple[FloatArray, FloatArray]]  # z' (I, I, I), with healthy modes and without
SIGNED: dict[Method, Feature] = {
    "rec-error": "residual",
    "rec-grad": "rec-gradient",
    "elbo-grad": "elbo-gradient",
    PLACE_Z: "intensity",
}


def features_of(fields: Mapping[Field, FloatArray], canonical: CanonicalVolume, *, curve: bool) -> Features:
    """Return the smoothed, levelled maps that have healthy statistics by place.

    Parameters
    ----------
    fields : float32 (I, I, I), with sign, what `scoring` found, on the canonical grid
    curve : whether a curve over the expected intensity is levelled too: for synthesized contrasts

    The intensity's own (`intensity_features`) are among them.
    """
    mask, pixel_mm = canonical.mask, canonical.grid.pixel_mm

    def smooth(values: FloatArray) -> FloatArray:
        return two_scales(values, mask, pixel_mm)

    # intensity and residual, without the scan's own field
    features = intensity_features(canonical)
    residual = smooth(fields["residual"])
    expected = smooth(canonical.data) - residual if curve else None
    features["residual"] = levelled(residual, mask, expected)
    # gradients: KL's by its magnitude, the others with their sign
    if "kl-gradient" in fields:
        features["kl-magnitude"] = smooth(np.abs(fields["kl-gradient"]))
    if "rec-gradient" in fields:
        features["rec-gradient"] = levelled(smooth(fields["rec-gradient"]), mask, expected)
        if "kl-gradient" in fields:
            both = smooth(fields["rec-gradient"] + fields["kl-gradient"])
            features["elbo-gradient"] = levelled(both, mask, expected)
    return features


def intensity_features(canonical: CanonicalVolume) -> Features:
    """Return the features without a network: `intensity`, and `fine` at half the pixel where the brain has it."""
    smooth = two_scales(canonical.data, canonical.mask, canonical.grid.pixel_mm)
    even = levelled(smooth, canonical.mask)
    features: Features = {"intensity": even}
    if canonical.fine is not None:
        features["fine"] = fine_intensity(canonical, smooth - even)
    return features


def normalised_maps(
    features: Mapping[Feature, FloatArray],
    mask: BoolArray,
    reference: Mapping[str, FloatArray],
    methods: Sequence[Method],
    modes: Mapping[str, FloatArray] | None = None,
    *,
    contrast: str = "",
    judge: Judge | None = None,
) -> dict[Method, FloatArray]:
    """Return the normalised maps, float32, > 0 where brighter and < 0 where darker than healthy brains are.

    They are (2I, 2I, 2I), at half the pixel, where brain and model have the fine intensity, else (I, I, I).

    Parameters
    ----------
    features : what `features_of` returned
    mask : bool (I, I, I), the brain
    reference : healthy `<feature>.mean` and `<feature>.sd`, float32 (I, I, I); without them no map can be made: {}
    modes : float32 (K, N) of the features whose healthy modes are taken off, where `<feature>.sd` is positive
    contrast : says which sign disease has; of another than t1, t2 and flair that is not known
    judge : of the learned map, which is left out without one
    """
    if "residual.mean" not in reference:
        return {}
    # the maps on the canonical grid; several are made of the same z'
    z = _z_of(features, mask, reference, modes)
    maps: dict[Method, FloatArray] = {}
    for method in methods:
        if method in SIGNED:
            maps[method] = z(SIGNED[method])[1]
        elif method == LEARNED:
            if judge:
                maps[method] = learned_map(_judged_maps(z, features, mask, reference), mask, judge)
        else:
            residual = z("residual")[1]
            k = relative_to_place(features["kl-magnitude"], mask, reference["kl-magnitude.mean"])
            maps[method] = k * np.sign(residual) if method == "kl-grad" else k**KL_POWER * residual
    # at half the pixel, the fine intensity as further evidence
    if "fine" not in features or "fine.mean" not in reference:
        return maps
    evidence = fine_evidence(features["fine"], mask, reference["fine.mean"], reference["fine.sd"], contrast)
    return {of: fused(values, None if of == "kl-grad" else evidence, mask, contrast) for of, values in maps.items()}


def judged_maps(
    features: Mapping[Feature, FloatArray],
    mask: BoolArray,
    reference: Mapping[str, FloatArray],
    modes: Mapping[str, FloatArray] | None,
) -> dict[str, FloatArray]:
    """Return the maps that a judge sees, float32 (I, I, I) each, for `learned_map`; see `normalised_maps`."""
    return _judged_maps(_z_of(features, mask, reference, modes), features, mask, reference)


def _judged_maps(
    z: UsualAndRest, features: Mapping[Feature, FloatArray], mask: BoolArray, reference: Mapping[str, FloatArray]
) -> dict[str, FloatArray]:
    maps: dict[str, FloatArray] = {}
    for name in ("residual", "intensity"):
        maps[f"{name}.usual"], maps[name] = z(name)
    maps["kl"] = log_relative_to_place(features["kl-magnitude"], mask, reference["kl-magnitude.mean"])
    maps["own"] = own_scale(features["intensity"], mask)
    fine, zero = features.get("fine", features["intensity"]), np.zeros_like(reference["residual.mean"])
    means = fine if fine.shape == mask.shape else mask * block_means(fine, (2, 2, 2))
    maps["fine"] = at_place(means, mask, *(reference.get(f"fine.{part}", zero) for part in ("mean", "sd")))
    return maps


def _z_of(
    features: Mapping[Feature, FloatArray],
    mask: BoolArray,
    reference: Mapping[str, FloatArray],
    modes: Mapping[str, FloatArray] | None,
) -> UsualAndRest:
    """Return the function of a feature's z' with and without its healthy modes, each computed once."""

    @functools.cache
    def z(feature: Feature) -> tuple[FloatArray, FloatArray]:
        mean, sd = reference[f"{feature}.mean"], reference[f"{feature}.sd"]
        usual = at_place(features[feature], mask, mean, sd)
        if not modes or feature not in modes:
            return usual, usual
        rest = without_modes(usual, mask, sd > 0, modes[feature])
        return usual, at_place(rest, mask, reference[f"{feature}.rest.mean"], reference[f"{feature}.rest.sd"])

    return z
