"""Which shipped model fits a scan: as the user says, by the file's name, else by its intensities."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from vae_loc.brain import BrainMask, find_brain
from vae_loc.catalogue import find_model, shipped_models
from vae_loc.checkpoint import Checkpoint, load_checkpoint
from vae_loc.cohort import Case, contrast_of
from vae_loc.errors import UnusableModel, printable
from vae_loc.locate import canonical_of
from vae_loc.normalise import levelled, two_scales
from vae_loc.volume import Volume, read_volume

Warn = Callable[[str], None]


def model_of(case: Case, *, contrast: str | None, volume: int | None, brain_mask: BrainMask | None, say: Warn) -> str:
    """Return the name of the shipped model for a scan, and say why if its name does not tell.

    Raises
    ------
    UnusableModel : if no shipped model is of this contrast.
    """
    known = shipped_models()
    wanted = case.contrast or contrast or contrast_of(case.scan)
    if wanted is None:
        scan = read_volume(case.scan, volume=volume)
        wanted = _most_alike(scan, brain_mask or case.brain_mask or "auto", known)
        say(f"{printable(case.scan)}: taken for {wanted} by its intensities; --contrast says otherwise")
    if wanted not in known:
        raise UnusableModel(
            wanted, f"expected a contrast of a shipped model ({', '.join(known)}); give a model with -m"
        )
    return wanted


def _most_alike(scan: Volume, how: BrainMask, known: list[str]) -> str:
    """Return the model whose healthy mean brain the scan correlates best with, place by place."""
    brain, _ = find_brain(scan, how)
    correlations = {name: _likeness(scan, brain, load_checkpoint(find_model(name))) for name in known}
    return max(correlations, key=lambda name: correlations[name])


def _likeness(scan: Volume, brain: np.ndarray, model: Checkpoint) -> float:
    canonical = canonical_of(scan, brain, model)
    intensity = levelled(two_scales(canonical.data, canonical.mask, canonical.grid.pixel_mm), canonical.mask)
    mean, sd = (model.places[f"intensity.{name}"] for name in ("mean", "sd"))
    both = canonical.mask & (sd > 0)
    return float(np.corrcoef(intensity[both], mean[both])[0, 1])
