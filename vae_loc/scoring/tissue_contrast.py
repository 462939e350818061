"""What contrast a brain is of, by its tissues (design [42])."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vae_loc.preprocessing.canonical import CanonicalVolume, standardized
from vae_loc.preprocessing.pose import BRAIN_OFFSET
from vae_loc.scoring.normalised_maps import CUT_SD
from vae_loc.scoring.robust_fit import robust_fit
from vae_loc.scoring.smoothing import smoothed
from vae_loc.vocabulary import FloatArray

DETAIL_FWHM_MM = (4.0, 24.0)  # between noise and shading
GREY_SD = -0.5  # of the mean T1 brain: fluid lies below, white matter above
CLEAR_CONTRAST = 1 / 3  # of T1's own


def contrast_by_tissue(canonical: CanonicalVolume, template: FloatArray) -> str:
    """Return t1, t2 or flair: by what fluid and white matter look like beside grey matter (design [42]).

    Parameters
    ----------
    canonical : the brain, aligned to `template`
    template : float32 (I, I, I), the mean T1 brain, which says where fluid and white matter lie

    The detail of the brain is fitted by that of both, robustly, so that shading and lesions have no say. Beside grey
    matter, white matter is much brighter only in T1, and fluid much darker or the tissues alike only in FLAIR.
    """
    mask = canonical.mask & (template > BRAIN_OFFSET)
    mean = standardized(template, mask)

    def detail(values: FloatArray) -> NDArray[np.float64]:
        fine, coarse = (smoothed(values, mask, canonical.grid.pixel_mm, fwhm_mm) for fwhm_mm in DETAIL_FWHM_MM)
        return (fine - coarse)[mask].astype(np.float64)

    tissues = np.column_stack([detail(np.minimum(mean, GREY_SD)), detail(np.maximum(mean, GREY_SD))])
    fluid, white = robust_fit(tissues, detail(canonical.data), cut_sd=CUT_SD)
    if white > CLEAR_CONTRAST:
        return "t1"
    return "t2" if fluid + white < -CLEAR_CONTRAST else "flair"
