"""Which shipped model fits a scan: as the user says, by the file's name, else by its intensities."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from vae_loc.errors import UnusableModel, printable
from vae_loc.model.checkpoint import load_checkpoint
from vae_loc.model.shipped import find_model, shipped_models
from vae_loc.preprocessing.canonical import CanonicalVolume, standardized
from vae_loc.preprocessing.registration import BRAIN_OFFSET
from vae_loc.scans.cases import Case, contrast_of
from vae_loc.scans.volume import Volume
from vae_loc.scoring.locate import canonical_of
from vae_loc.scoring.normalised_maps import robust_fit, smoothed
from vae_loc.vocabulary import BoolArray, FloatArray

Warn = Callable[[str], None]
FindBrain = Callable[[], tuple[BoolArray, str]]
DETAIL_FWHM_MM = (4.0, 24.0)  # between noise and shading
GREY_SD = -0.5  # of the mean T1 brain: fluid lies below, white matter above
CLEAR_CONTRAST = 1 / 3  # of T1's own


def model_of(case: Case, scan: Volume, brain: FindBrain, *, contrast: str | None, say: Warn) -> str:
    """Return the name of the shipped model for a scan, and say why if its name does not tell.

    Parameters
    ----------
    brain : finds the brain of `scan`; is called only if neither the user nor the file's name tells the contrast

    Raises
    ------
    UnusableModel : if no shipped model is of this contrast.
    """
    known = shipped_models()
    wanted = case.contrast or contrast or contrast_of(case.scan)
    if wanted is None:
        wanted = _by_intensities(scan, brain()[0])
        say(f"{printable(case.scan)}: taken for {wanted} by its intensities; --contrast says otherwise")
    if wanted not in known:
        raise UnusableModel(
            wanted, f"expected a contrast of a shipped model ({', '.join(known)}); give a model with -m"
        )
    return wanted


def _by_intensities(scan: Volume, brain: BoolArray) -> str:
    atlas = load_checkpoint(find_model("t1"))
    canonical = canonical_of(scan, brain, atlas)
    return contrast_by_tissue(canonical, atlas.places["template"])


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
    fluid, white = robust_fit(tissues, detail(canonical.data))
    if white > CLEAR_CONTRAST:
        return "t1"
    return "t2" if fluid + white < -CLEAR_CONTRAST else "flair"
