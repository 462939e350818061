"""The story: one scan and one model in, anomaly maps on the scan's own grid out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vae_loc.brain import BrainMask, find_brain
from vae_loc.canonical import (
    BACKGROUND_SD,
    CLIP_SD,
    FIELD_OF_VIEW_MM,
    CanonicalVolume,
    from_canonical,
    smoothed_in_brain,
    to_canonical,
)
from vae_loc.checkpoint import Checkpoint, Method, Preprocessing
from vae_loc.errors import UnusableModel
from vae_loc.scoring import score_slices
from vae_loc.slices import from_slices, substantial, to_slices
from vae_loc.volume import BoolArray, FloatArray, Volume

if TYPE_CHECKING:
    from vae_loc.vae import VAE

SMOOTHING_FWHM_MM = 6.0  # two canonical pixels: the same rule for all five maps (design [1])
PREPROCESSING = Preprocessing(
    field_of_view_mm=FIELD_OF_VIEW_MM,
    intensity="median-iqr",
    clip_sd=CLIP_SD,
    background_sd=BACKGROUND_SD,
    smoothing_fwhm_mm=SMOOTHING_FWHM_MM,
)


@dataclass(frozen=True)
class SampleScores:
    """Rec, KL and ELBO (= KL + Rec, the negative ELBO) of S slices and of the volume, in nats.

    The volume's are means over the slices with enough brain (`counted`).
    """

    positions_mm: NDArray[np.float64]
    counted: BoolArray
    slices: dict[str, NDArray[np.float64]]
    volume: dict[str, float]


@dataclass(frozen=True)
class Located:
    """What a model says of one scan.

    Attributes
    ----------
    maps : float32 (I, J, K) on the scan's own grid for each method, zero outside the brain
    brain : bool (I, J, K), the brain mask; `brain_source` says where it came from
    canonical : the brain as the network saw it
    scores : sample-wise scores
    warnings : what the user should know, one line each
    """

    maps: dict[Method, FloatArray]
    brain: BoolArray
    brain_source: str
    canonical: CanonicalVolume
    scores: SampleScores
    warnings: tuple[str, ...]


def locate(
    volume: Volume,
    checkpoint: Checkpoint,
    model: VAE,
    *,
    brain_mask: BrainMask = "auto",
    methods: Sequence[Method] = ("combi",),
) -> Located:
    """Score one scan.

    Parameters
    ----------
    volume : the scan
    checkpoint, model : what `load_checkpoint` read and `build_model` built from it
    brain_mask : a mask file, `auto`, or `none` for a volume that is brain everywhere

    Raises
    ------
    UnusableModel : if the model was trained on slices prepared in another way.
    UnusableInput : if no brain is found, or the mask does not fit.
    """
    facts = checkpoint.facts
    if facts.preprocessing != PREPROCESSING:
        raise UnusableModel(checkpoint.digest[:12], "was trained on slices prepared otherwise; train it again")
    brain, source = find_brain(volume, brain_mask)
    canonical = to_canonical(volume, brain, image_size=facts.network.image_size)
    stack = to_slices(canonical)
    scores = score_slices(model, stack, c=facts.network.c, methods=methods)
    maps: dict[Method, FloatArray] = {}
    for method, values in scores.maps.items():
        smooth = smoothed_in_brain(from_slices(values, stack, canonical), canonical, SMOOTHING_FWHM_MM)
        maps[method] = from_canonical(smooth, canonical, volume, brain)
    samples = _sample_scores(stack.positions_mm, substantial(stack), scores.kl, scores.rec)
    return Located(maps, brain, source, canonical, samples, volume.warnings + canonical.warnings)


def _sample_scores(
    positions_mm: NDArray[np.float64], counted: BoolArray, kl: NDArray[np.float64], rec: NDArray[np.float64]
) -> SampleScores:
    slices = {"rec": rec, "kl": kl, "elbo": kl + rec}
    volume = {name: float(values[counted].mean()) for name, values in slices.items()}
    return SampleScores(positions_mm, counted, slices, volume)
