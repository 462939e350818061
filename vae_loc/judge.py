"""What the network says of a brain -> the five normalised maps (design [34], [35]).

    Rec-Error = z'(residual)      Rec-Grad = z'(rec-gradient)      ELBO-Grad = z'(kl-gradient + rec-gradient)
    KL-Grad   = k                 Combi    = sqrt(k) |z'(residual)|

z' as in `normalise`, in the scan's robust standard deviations; k = smoothed |kl-gradient| as a multiple of its
healthy mean at the place, log-normal over the scan (`relative_to_place`). Combi^2 is the paper's product, KL-Grad times
squared residual, of normalised factors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from vae_loc.canonical import CanonicalVolume
from vae_loc.checkpoint import Method
from vae_loc.normalise import at_place, levelled, relative_to_place, two_scales
from vae_loc.scoring import Field
from vae_loc.volume import BoolArray, FloatArray

Feature = Literal["residual", "rec-gradient", "elbo-gradient", "kl-magnitude", "intensity"]
Features = dict[Feature, FloatArray]
SIGNED: dict[Method, Feature] = {
    "rec-error": "residual",
    "rec-grad": "rec-gradient",
    "elbo-grad": "elbo-gradient",
}


def features_of(fields: Mapping[Field, FloatArray], canonical: CanonicalVolume, *, curve: bool) -> Features:
    """Return the smoothed, levelled maps that have healthy statistics by place.

    Parameters
    ----------
    fields : float32 (I, I, I), with sign, what `scoring` found, on the canonical grid
    curve : whether a curve over the expected intensity is levelled too: for synthesized contrasts

    `intensity` needs no network: it serves the baselines.
    """
    mask, pixel_mm = canonical.mask, canonical.grid.pixel_mm

    def smooth(values: FloatArray) -> FloatArray:
        return two_scales(values, mask, pixel_mm)

    intensity = smooth(canonical.data)
    residual = smooth(fields["residual"])
    expected = intensity - residual if curve else None
    features: Features = {"residual": levelled(residual, mask, expected), "intensity": levelled(intensity, mask)}
    if "kl-gradient" in fields:
        features["kl-magnitude"] = smooth(np.abs(fields["kl-gradient"]))
    if "rec-gradient" in fields:
        features["rec-gradient"] = levelled(smooth(fields["rec-gradient"]), mask, expected)
        if "kl-gradient" in fields:
            both = smooth(fields["rec-gradient"] + fields["kl-gradient"])
            features["elbo-gradient"] = levelled(both, mask, expected)
    return features


def judged(
    features: Features, mask: BoolArray, places: Mapping[str, FloatArray], methods: Sequence[Method]
) -> dict[Method, FloatArray]:
    """Return the normalised maps, > 0 where brighter and < 0 where darker than healthy; empty without `places`."""
    if "residual.mean" not in places:
        return {}

    def z(feature: Feature) -> FloatArray:
        return at_place(features[feature], mask, places[f"{feature}.mean"], places[f"{feature}.sd"])

    residual = z("residual")
    maps: dict[Method, FloatArray] = {}
    for method in methods:
        if method in SIGNED:
            maps[method] = z(SIGNED[method])
            continue
        k = relative_to_place(features["kl-magnitude"], mask, places["kl-magnitude.mean"])
        maps[method] = k * np.sign(residual) if method == "kl-grad" else np.sqrt(k) * residual
    return maps
