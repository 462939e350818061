"""Which shipped model fits a scan: as the user says, by the file's name, else by its intensities."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vae_loc.errors import UnusableModel, printable
from vae_loc.model.network import Model, load_model
from vae_loc.model.shipped import shipped_models
from vae_loc.preprocessing.canonical import CanonicalVolume, standardized
from vae_loc.preprocessing.open_scan import Scan
from vae_loc.preprocessing.pose import BRAIN_OFFSET
from vae_loc.scans.cases import Case, contrast_of
from vae_loc.scoring.locate import canonical_of
from vae_loc.scoring.normalised_maps import CUT_SD, smoothed
from vae_loc.scoring.robust_fit import robust_fit
from vae_loc.vocabulary import FloatArray

DETAIL_FWHM_MM = (4.0, 24.0)  # between noise and shading
GREY_SD = -0.5  # of the mean T1 brain: fluid lies below, white matter above
CLEAR_CONTRAST = 1 / 3  # of T1's own
ATLAS = "t1"  # the shipped model whose template tells where the tissues lie


def choose_model(
    case: Case, scan: Scan, *, name: str | None = None, contrast: str | None = None, device: str = "cpu"
) -> tuple[Model, tuple[str, ...]]:
    """Return the model for a scan, and what the user should know of the choice.

    Parameters
    ----------
    name : a shipped model's name or a file, which decides; None chooses a shipped model
    contrast : what the scan is, unless its case states it; None tells it by the file's name, else by intensities

    Raises
    ------
    UnusableModel : if no shipped model is of this contrast, or the model cannot be used.
    """
    if name is not None:
        return load_model(name, device), ()
    notes: tuple[str, ...] = ()
    wanted = case.contrast or contrast or contrast_of(case.scan)
    if wanted is None:
        wanted = contrast_by_intensities(scan)
        notes = (f"{printable(case.scan)}: taken for {wanted} by its intensities; --contrast says otherwise",)
    known = shipped_models()
    if wanted not in known:
        raise UnusableModel(
            wanted, f"expected a contrast of a shipped model ({', '.join(known)}); give a model with -m"
        )
    return load_model(wanted, device), notes


def contrast_by_intensities(scan: Scan) -> str:
    """Return t1, t2 or flair: what a scan is by its intensities, after it was aligned to the mean T1 brain."""
    atlas = load_model(ATLAS)
    return contrast_by_tissue(canonical_of(scan, atlas), atlas.places["template"])


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
