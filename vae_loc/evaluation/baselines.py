"""Scores that need no model; a map that does not beat them has learned nothing."""

from __future__ import annotations

import numpy as np

from vae_loc.preprocessing.canonical import CanonicalVolume, all_from_canonical
from vae_loc.scans.volume import Volume
from vae_loc.scoring.normalised_maps import intensity_features, normalised_maps, with_polarity
from vae_loc.vocabulary import PLACE_Z, BoolArray, FloatArray, Polarity

BASELINES = ("intensity", "negative-intensity", "place-z", "place-z-bright", "place-z-dark")
OF_PLACE_Z: dict[str, Polarity] = {"place-z": "any", "place-z-bright": "bright", "place-z-dark": "dark"}


def baseline_maps(
    volume: Volume, brain: BoolArray, canonical: CanonicalVolume, reference: dict[str, FloatArray], *, contrast: str
) -> dict[str, FloatArray]:
    """Return the baselines of a scan, float32 (I, J, K) each.

    intensity, negative-intensity : the scan, and its negative
    place-z : the map of `score --method place-z`: the intensity in place of the residual, smoothed, levelled and set
        against healthy brains at the same place, exactly as the maps are; `-bright` and `-dark` keep one sign. Only if
        `reference` has it
    """
    maps = {"intensity": volume.data, "negative-intensity": -volume.data}
    if "intensity.mean" in reference:
        features = intensity_features(canonical)
        z = normalised_maps(features, canonical.mask, reference, [PLACE_Z], contrast=contrast)[PLACE_Z]
        magnitudes = [np.abs(with_polarity(z, polarity)) for polarity in OF_PLACE_Z.values()]
        maps |= dict(zip(OF_PLACE_Z, all_from_canonical(magnitudes, canonical, volume.affine, brain), strict=True))
    return maps
