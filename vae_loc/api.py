"""From Python: one scan in, its maps out, by the model that the commands would choose."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from vae_loc.preprocessing.open_scan import open_scan
from vae_loc.scans.cases import find_cases
from vae_loc.scoring.choose_model import choose_model
from vae_loc.scoring.locate import Located, locate
from vae_loc.vocabulary import BrainMask, Method, Polarity


def localize(
    scan: str | Path,
    *,
    model: str | None = None,
    contrast: str | None = None,
    brain_mask: BrainMask | None = None,
    methods: Sequence[Method] = ("combi",),
    polarity: Polarity = "any",
    device: str = "cpu",
) -> Located:
    """Return which voxels of a NIfTI scan a model of healthy brains finds improbable.

    Parameters
    ----------
    scan : a NIfTI file
    model : a shipped model's name or a .safetensors file; None chooses by `contrast`, name or intensities
    brain_mask : a mask file, `auto` or `none`; None takes the mask beside the scan where there is one, else `auto`
    methods : which maps
    polarity : `bright` or `dark` keeps only what is brighter or darker than expected

    Returns
    -------
    `maps` : float32 arrays (I, J, K) on the scan's own grid, in robust standard deviations, 0 outside
    the brain; `brain`, `scores`, `warnings`. A model that has not changed is loaded once in a process.

    Raises
    ------
    UnusableInput, UnusableModel : as the commands would say in one line.
    """
    (case,) = find_cases([Path(scan)])
    opened = open_scan(case, brain_mask=brain_mask)
    chosen, notes = choose_model(case, opened, name=model, contrast=contrast, device=device)
    for note in notes:
        logging.getLogger(__name__).warning(note)
    return locate(opened, chosen, methods=methods, polarity=polarity)
