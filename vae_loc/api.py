"""From Python: one scan in, its maps out, by the model that the commands would choose."""

from __future__ import annotations

import functools
import logging
from collections.abc import Sequence
from pathlib import Path

from vae_loc.model.checkpoint import Checkpoint, load_checkpoint
from vae_loc.model.network import ScoreTerms, build_model
from vae_loc.model.shipped import find_model
from vae_loc.preprocessing.brain_mask import find_brain
from vae_loc.scans.cases import find_cases
from vae_loc.scans.volume import read_volume
from vae_loc.scoring.choose_model import model_of
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
    """Say which voxels of a NIfTI scan a model of healthy brains finds improbable.

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
    the brain; `brain`, `scores`, `warnings`. A model is loaded once a process.

    Raises
    ------
    UnusableInput, UnusableModel : as the commands would say in one line.
    """
    (case,) = find_cases([Path(scan)])
    say = logging.getLogger(__name__).warning
    volume = read_volume(case.scan)
    brain = functools.cache(functools.partial(find_brain, volume, brain_mask or case.brain_mask or "auto"))
    checkpoint, network = _loaded(model or model_of(case, volume, brain, contrast=contrast, say=say), device)
    return locate(volume, checkpoint, network, brain=brain(), methods=methods, polarity=polarity)


@functools.cache
def _loaded(name: str, device: str) -> tuple[Checkpoint, ScoreTerms]:
    checkpoint = load_checkpoint(find_model(name))
    return checkpoint, build_model(checkpoint, device)
