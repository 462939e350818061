"""The intensity at half the pixel, as evidence of lesions too small for the network's maps (design [81]).

    x  = intensity at half the canonical pixel, smoothed by 2 mm, less the scan's own field
    z  = (x - mean x) / sd x       over healthy brains at the same place, on the scan's own scale
    e  = gain * max(z - from, 0)   z towards the sign that disease has in this contrast, else of either sign

    map = side(m) + e,   side(m) = m towards that sign, m / 2 away from it

m is a map of the network on the same grid. On FLAIR, where no healthy tissue is as bright as a lesion, z is the mean of
itself and of x on the scan's own scale. Large lesions are found by m; e adds nothing where the intensity is usual.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vae_loc.preprocessing.canonical import FIELD_OF_VIEW_MM, CanonicalVolume
from vae_loc.preprocessing.regions import depth_mm
from vae_loc.preprocessing.resampling import doubled, doubled_mask
from vae_loc.preprocessing.robust_fit import own_scale
from vae_loc.preprocessing.smoothing import smoothed
from vae_loc.vocabulary import BoolArray, FloatArray

FINE_FWHM_MM = 2.0
SURFACE_MM = (5.0, 10.0)  # depths in the mask between which the evidence comes to count: skull and dura stay in masks
AWAY_SHARE = 0.5  # of a map's value whose sign is not that of disease


@dataclass(frozen=True)
class Appearance:
    """How disease looks in a contrast.

    Attributes
    ----------
    sign : 1 where it is brighter than healthy tissue, -1 where it is darker, 0 where that is not known
    gain, from_sd : of the fine evidence, and from how many robust standard deviations on there is any
    own_share : of the scan's own scale in the evidence; the rest is the healthy brains' at the same place
    """

    sign: int
    gain: float
    from_sd: float
    own_share: float = 0.0


DISEASE_LOOKS = {
    "t1": Appearance(sign=-1, gain=0.5, from_sd=3.0),
    "t2": Appearance(sign=1, gain=0.5, from_sd=3.0),
    "flair": Appearance(sign=1, gain=4.0, from_sd=2.0, own_share=0.5),
}
UNKNOWN_LOOK = Appearance(sign=0, gain=0.5, from_sd=3.0)


def fine_intensity(canonical: CanonicalVolume, field: FloatArray) -> FloatArray:
    """Return x, float32 (2I, 2I, 2I), 0 outside the brain.

    Parameters
    ----------
    canonical : with its fine intensities
    field : float32 (I, I, I), the scan's own field
    """
    fine = canonical.halved
    even = fine.data - doubled(field, canonical.mask)
    return smoothed(even, fine.mask, fine.grid.pixel_mm, FINE_FWHM_MM)


def fine_evidence(values: FloatArray, mask: BoolArray, mean: FloatArray, sd: FloatArray, contrast: str) -> FloatArray:
    """Return e, float32 (2I, 2I, 2I), with the sign of the anomaly, 0 where the intensity is usual.

    Parameters
    ----------
    values : float32 (2I, 2I, 2I), x
    mask : bool (I, I, I), the brain
    mean, sd : float32 (I, I, I), of x in healthy brains; where sd is 0 no healthy brain was, and e is 0
    """
    look = DISEASE_LOOKS.get(contrast, UNKNOWN_LOOK)
    told = sd > 0
    known = doubled_mask(mask & told)
    z = np.zeros_like(values)
    np.divide(values - doubled(mean, told), doubled(sd, told), out=z, where=known)
    z = own_scale(z, known)
    if look.own_share:
        z = (1 - look.own_share) * z + look.own_share * own_scale(values, known)
    # none at the surface of the brain, where masks differ, and all of it in its depth
    shallow, deep = SURFACE_MM
    depth = (depth_mm(mask, FIELD_OF_VIEW_MM / len(mask)) - shallow) / (deep - shallow)
    inner = doubled(np.clip(depth, 0, 1).astype(np.float32), mask)
    beyond = np.maximum(np.abs(z) - look.from_sd, 0) * inner
    if look.sign:
        beyond[z * look.sign < 0] = 0
    return (look.gain * np.copysign(beyond, z)).astype(np.float32)


def fused(values: FloatArray, evidence: FloatArray | None, mask: BoolArray, contrast: str) -> FloatArray:
    """Return a signed map at half the pixel, float32 (2I, 2I, 2I), with the evidence that is too small for it.

    Parameters
    ----------
    values : float32 (I, I, I), a normalised map with its sign
    evidence : float32 (2I, 2I, 2I), e; None adds nothing
    mask : bool (I, I, I), the brain
    """
    sign = DISEASE_LOOKS.get(contrast, UNKNOWN_LOOK).sign
    weighed = np.where(values * sign < 0, np.float32(AWAY_SHARE) * values, values)
    inside = np.where(doubled_mask(mask), doubled(weighed, mask), np.float32(0))
    return inside if evidence is None else inside + evidence
