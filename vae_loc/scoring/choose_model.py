"""Scan -> the model that fits it, by the options, the file's name or the intensities -> its maps."""

from __future__ import annotations

from vae_loc.errors import UnusableModel, printable
from vae_loc.model.network import Model, load_model
from vae_loc.model.shipped import shipped_models
from vae_loc.preprocessing.open_scan import Scan
from vae_loc.scans.cases import Case, contrast_of
from vae_loc.scoring.aligned_scan import canonical_of
from vae_loc.scoring.locate import Located, locate
from vae_loc.scoring.score_options import ScoreOptions
from vae_loc.scoring.tissue_contrast import tissue_fit

ATLAS = "t1"  # the shipped model whose template tells where the tissues lie


def locate_scan(scan: Scan, case: Case, options: ScoreOptions) -> tuple[Located, Model, tuple[str, ...]]:
    """Return the maps of a scan that is read, the model that was chosen for it, and notes on the choice.

    Raises
    ------
    UnusableInput : if it is no brain MRI, and that is not forced.
    UnusableModel : if the model cannot be used, or is of other data.
    """
    model, notes = choose_model(case, scan, options)
    return locate(scan, model, options), model, notes


def choose_model(case: Case, scan: Scan, options: ScoreOptions) -> tuple[Model, tuple[str, ...]]:
    """Return the model for a scan, and what the user should know of the choice.

    The model of the options decides, then the contrast: of the case, else of the options, of the file's name, or of
    the intensities.

    Raises
    ------
    UnusableModel : if no shipped model is of this contrast, or the model cannot be used.
    """
    if options.model is not None:
        return load_model(options.model, options.device), ()
    notes: tuple[str, ...] = ()
    wanted = case.contrast or options.contrast or contrast_of(case.scan)
    if wanted is None:
        wanted = contrast_by_intensities(scan)
        notes = (taken_by_intensities(case, wanted),)
    known = shipped_models()
    if wanted not in known:
        raise UnusableModel(
            wanted, f"expected a contrast of a shipped model ({', '.join(known)}); give a model with -m"
        )
    return load_model(wanted, options.device), notes


def taken_by_intensities(case: Case, contrast: str) -> str:
    """Say that a scan was taken for one of a contrast because nothing states it."""
    return (
        f"{printable(case.scan)}: neither its name nor --contrast states the contrast; by its intensities it was taken "
        f"for {contrast}. If that is wrong, give --contrast"
    )


def contrast_by_intensities(scan: Scan) -> str:
    """Return t1, t2 or flair: what a scan is by its intensities, after it was aligned to the mean T1 brain."""
    atlas = load_model(ATLAS)
    return tissue_fit(canonical_of(scan, atlas), atlas.reference["template"]).contrast
