"""The one model for all scans of an evaluation: as the user says, by the names of the files, else by intensities."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence

from vae_loc.errors import UnusableInput, UnusableModel, UnusableOption
from vae_loc.model.network import Model, load_model
from vae_loc.model.shipped import shipped_models
from vae_loc.preprocessing.open_scan import open_scan
from vae_loc.scans.cases import Case, contrast_of
from vae_loc.scoring.choose_model import contrast_by_intensities, taken_by_intensities
from vae_loc.vocabulary import BrainMask


def model_for(
    cases: Sequence[Case], *, contrast: str | None = None, brain_mask: BrainMask | None = None, device: str = "cpu"
) -> Model:
    """Return the shipped model of the contrast that all scans have.

    Parameters
    ----------
    contrast : what the scans are, unless a table states it; None takes their names, else their intensities

    Raises
    ------
    UnusableOption : if the scans are of several contrasts.
    UnusableModel : if no shipped model is of their contrast.
    UnusableInput : if no scan states its contrast, and none can be read.
    """
    contrasts: set[str] = set()
    faults: list[UnusableInput] = []
    for case in cases:
        try:
            contrasts.add(stated_contrast(case, contrast) or _by_intensities(case, brain_mask))
        except UnusableInput as error:  # the evaluation lists it
            faults.append(error)
    if not contrasts:
        raise faults[0]
    refuse_several(contrasts)
    (wanted,) = contrasts
    known = shipped_models()
    if wanted not in known:
        raise UnusableModel(wanted, f"expected a contrast of a shipped model ({', '.join(known)}); give one with -m")
    return load_model(wanted, device)


def stated_contrast(case: Case, contrast: str | None) -> str | None:
    """Return the contrast of a scan by its table, else by the option, else by its name; None if none of them says."""
    return case.contrast or contrast or contrast_of(case.scan)


def refuse_several(contrasts: Collection[str]) -> None:
    """Refuse scans of several contrasts.

    Raises
    ------
    UnusableOption : if there is more than one.
    """
    if len(contrasts) > 1:
        listed = ", ".join(sorted(contrasts))
        raise UnusableOption(
            "--contrast",
            f"expected scans of one contrast, found {listed}; evaluate them one contrast at a time: name the scans of "
            f"one, or a folder with --contrast {max(contrasts)}",
        )


def _by_intensities(case: Case, brain_mask: BrainMask | None) -> str:
    contrast = contrast_by_intensities(open_scan(case, brain_mask=brain_mask))
    logging.getLogger(__name__).warning(taken_by_intensities(case, contrast))
    return contrast
