"""The contrast of a brain, by its tissues (design [42])."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vae_loc.preprocessing.canonical import CanonicalVolume, standardized
from vae_loc.preprocessing.pose import BRAIN_OFFSET
from vae_loc.preprocessing.robust_fit import FIELD_CUT_SD, robust_fit
from vae_loc.scoring.smoothing import smoothed
from vae_loc.vocabulary import BoolArray, FloatArray

DETAIL_FWHM_MM = (4.0, 24.0)  # between noise and shading
GREY_SD = -0.5  # of the mean T1 brain: fluid lies below, white matter above
CLEAR_CONTRAST = 1 / 3  # of T1's own


@dataclass(frozen=True)
class TissueFit:
    """How a brain's detail follows that of two tissues of the mean T1 brain.

    Attributes
    ----------
    fluid, white : slopes of the detail on that of fluid, and of white matter, beside grey matter
    match : correlation of the fit with the detail, 0 to 1
    """

    fluid: float
    white: float
    match: float

    @property
    def contrast(self) -> str:
        """The contrast: white matter is bright in T1, fluid dark or the tissues alike only in FLAIR."""
        if self.white > CLEAR_CONTRAST:
            return "t1"
        return "t2" if self.fluid + self.white < -CLEAR_CONTRAST else "flair"


def tissue_fit(canonical: CanonicalVolume, template: FloatArray) -> TissueFit:
    """Return the fit of a brain's detail by that of fluid and white matter.

    Parameters
    ----------
    canonical : the brain, aligned to `template`
    template : float32 (I, I, I), the mean T1 brain, which says where fluid and white matter lie

    The detail of the brain is fitted by that of both, robustly, so that shading and lesions have no say. Beside grey
    matter, white matter is much brighter only in T1, and fluid much darker or the tissues alike only in FLAIR.
    """
    mask = canonical.mask & (template > BRAIN_OFFSET)
    mean = standardized(template, mask)
    parts = (np.minimum(mean, GREY_SD), np.maximum(mean, GREY_SD))
    tissues = np.column_stack([detail_of(part, mask, canonical) for part in parts])
    detail = detail_of(canonical.data, mask, canonical)
    slopes = robust_fit(tissues, detail, cut_sd=FIELD_CUT_SD)
    return TissueFit(float(slopes[0]), float(slopes[1]), correlation(tissues @ slopes, detail))


def correlation(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Return the correlation of two arrays (N,), -1 to 1; 0 where one is constant."""
    spread = float(np.std(first) * np.std(second))
    return float(np.mean((first - first.mean()) * (second - second.mean())) / spread) if spread > 0 else 0.0


def detail_of(values: FloatArray, mask: BoolArray, canonical: CanonicalVolume) -> NDArray[np.float64]:
    """Return the detail of values (I, I, I) between `DETAIL_FWHM_MM`, float64 (N,), in the N voxels of a mask."""
    fine, coarse = (smoothed(values, mask, canonical.grid.pixel_mm, fwhm_mm) for fwhm_mm in DETAIL_FWHM_MM)
    return (fine - coarse)[mask].astype(np.float64)
