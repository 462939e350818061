"""Scores that need no model. What does not beat them has learned nothing."""

from __future__ import annotations

import numpy as np

from vae_loc.canonical import CanonicalVolume, from_canonical, smoothed_in_brain
from vae_loc.normalise import at_place
from vae_loc.volume import BoolArray, FloatArray, Volume

BASELINES = ("intensity", "negative-intensity", "equalised-intensity", "place-z")
BINS = 256  # of the histogram equalisation


def baseline_maps(
    volume: Volume, brain: BoolArray, canonical: CanonicalVolume, places: dict[str, FloatArray], *, smoothing_mm: float
) -> dict[str, FloatArray]:
    """Return the baselines of a scan, float32 (I, J, K) each.

    intensity, negative-intensity : the scan, and its negative
    equalised-intensity : the share of brain voxels that are darker; ranks a single scan as intensity does
    place-z : |x - mean| / sd of healthy brains at the same place, smoothed as the maps are; only if
        `places` has it
    """
    from skimage.exposure import equalize_hist

    maps = {
        "intensity": volume.data,
        "negative-intensity": -volume.data,
        "equalised-intensity": equalize_hist(volume.data, nbins=BINS, mask=brain).astype(np.float32),
    }
    if "intensity.mean" in places:
        mean, sd = (places[f"intensity.{name}"] for name in ("mean", "sd"))
        z = np.abs(at_place(canonical.data, canonical.mask, mean, sd))
        maps["place-z"] = from_canonical(smoothed_in_brain(z, canonical, smoothing_mm), canonical, volume, brain)
    return maps
