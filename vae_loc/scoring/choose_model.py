"""Which shipped model fits a scan: as the user says, by the file's name, else by its intensities."""

from __future__ import annotations

from vae_loc.errors import UnusableModel, printable
from vae_loc.model.network import Model, load_model
from vae_loc.model.shipped import shipped_models
from vae_loc.preprocessing.open_scan import Scan
from vae_loc.scans.cases import Case, contrast_of
from vae_loc.scoring.aligned_scan import canonical_of
from vae_loc.scoring.tissue_contrast import contrast_by_tissue

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
        notes = (taken_by_intensities(case, wanted),)
    known = shipped_models()
    if wanted not in known:
        raise UnusableModel(
            wanted, f"expected a contrast of a shipped model ({', '.join(known)}); give a model with -m"
        )
    return load_model(wanted, device), notes


def taken_by_intensities(case: Case, contrast: str) -> str:
    """Say that a scan was taken for one of a contrast because nothing states it."""
    return (
        f"{printable(case.scan)}: neither its name nor --contrast states the contrast; by its intensities it was taken "
        f"for {contrast}. If that is wrong, give --contrast"
    )


def contrast_by_intensities(scan: Scan) -> str:
    """Return t1, t2 or flair: what a scan is by its intensities, after it was aligned to the mean T1 brain."""
    atlas = load_model(ATLAS)
    return contrast_by_tissue(canonical_of(scan, atlas), atlas.reference["template"])
