"""The story: one scan and one model in, anomaly maps on the scan's own grid out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
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
from vae_loc.normalise import Polarity, at_place, positive, with_polarity
from vae_loc.scoring import score_slices
from vae_loc.slices import from_slices, substantial, to_slices
from vae_loc.volume import BoolArray, FloatArray, Volume

if TYPE_CHECKING:
    from vae_loc.vae import VAE

Appear = Callable[[CanonicalVolume], CanonicalVolume]

SMOOTHING_FWHM_MM = 6.0  # two canonical pixels: the same rule for all five maps (design [9])
PREPROCESSING = Preprocessing(
    field_of_view_mm=FIELD_OF_VIEW_MM,
    intensity="median-iqr",
    clip_sd=CLIP_SD,
    background_sd=BACKGROUND_SD,
    smoothing_fwhm_mm=SMOOTHING_FWHM_MM,
    pose="affine to template",
    mask="without dark rim",
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
class CanonicalScores:
    """What the network says of a brain on the canonical grid.

    Attributes
    ----------
    maps : float32 (I, I, I), the bare scores of each method, smoothed over the brain
    residual : float32 (I, I, I), x - g(mu), smoothed likewise
    """

    maps: dict[Method, FloatArray]
    residual: FloatArray
    samples: SampleScores


@dataclass(frozen=True)
class Located:
    """What a model says of one scan.

    Attributes
    ----------
    maps : float32 (I, J, K) >= 0 on the scan's own grid for each method, zero outside the brain
    raw_maps : the bare scores likewise
    brain : bool (I, J, K), the brain mask; `brain_source` says where it came from
    canonical : the brain as the network saw it
    scores : sample-wise scores
    warnings : what the user should know, one line each
    bare : whether `maps` are the bare scores
    """

    maps: dict[Method, FloatArray]
    raw_maps: dict[Method, FloatArray]
    brain: BoolArray
    brain_source: str
    canonical: CanonicalVolume
    scores: SampleScores
    warnings: tuple[str, ...]
    bare: bool = False

    def as_raw(self) -> Located:
        """Return the same with the bare scores as its maps."""
        return replace(self, maps=self.raw_maps, bare=True)


def locate(
    volume: Volume,
    checkpoint: Checkpoint,
    model: VAE,
    *,
    brain_mask: BrainMask = "auto",
    methods: Sequence[Method] = ("combi",),
    polarity: Polarity = "any",
    appear: Appear | None = None,
) -> Located:
    """Score one scan.

    Parameters
    ----------
    volume : the scan
    checkpoint, model : what `load_checkpoint` read and `build_model` built from it
    brain_mask : a mask file, `auto`, or `none` for a volume that is brain everywhere
    polarity : `bright` or `dark` keeps only what is brighter or darker than the model expects
    appear : gives the brain another look before it is scored; for models of synthesized contrasts

    Raises
    ------
    UnusableModel : if the model was trained on slices prepared in another way.
    UnusableInput : if no brain is found, or the mask does not fit.
    """
    brain, source = find_brain(volume, brain_mask)
    canonical = canonical_of(volume, brain, checkpoint, appear)
    scores = score_canonical(canonical, checkpoint, model, methods)
    maps: dict[Method, FloatArray] = {}
    raw_maps: dict[Method, FloatArray] = {}
    for method, bare in scores.maps.items():
        judged = bare
        if f"{method}.mean" in checkpoint.places:
            mean, sd = (checkpoint.places[f"{method}.{name}"] for name in ("mean", "sd"))
            judged = positive(at_place(bare, canonical.mask, mean, sd), canonical.mask)
        for on_grid, values in ((maps, judged), (raw_maps, bare)):
            kept = with_polarity(values, scores.residual, polarity)
            on_grid[method] = from_canonical(kept, canonical, volume, brain)
    warnings = volume.warnings + canonical.warnings
    return Located(maps, raw_maps, brain, source, canonical, scores.samples, warnings)


def canonical_of(
    volume: Volume, brain: BoolArray, checkpoint: Checkpoint, appear: Appear | None = None
) -> CanonicalVolume:
    """Return a brain as the checkpoint's network expects it.

    Raises
    ------
    UnusableModel : if the model was trained on slices prepared in another way.
    """
    facts = checkpoint.facts
    if facts.preprocessing != PREPROCESSING:
        raise UnusableModel(checkpoint.digest[:12], "was trained on slices prepared otherwise; train it again")
    contrast = facts.contrast if appear is None else facts.training.synthesized_from or facts.contrast
    canonical = to_canonical(
        volume,
        brain,
        image_size=facts.network.image_size,
        contrast=contrast,
        template=checkpoint.places.get("template"),
    )
    return canonical if appear is None else appear(canonical)


def score_canonical(
    canonical: CanonicalVolume, checkpoint: Checkpoint, model: VAE, methods: Sequence[Method]
) -> CanonicalScores:
    """Score a brain on the canonical grid, and smooth the maps by the one rule for all of them."""
    stack = to_slices(canonical)
    found = score_slices(model, stack, c=checkpoint.facts.network.c, methods=methods)

    def smoothed(values: FloatArray) -> FloatArray:
        return smoothed_in_brain(from_slices(values, stack, canonical), canonical, SMOOTHING_FWHM_MM)

    samples = _sample_scores(stack.positions_mm, substantial(stack), found.kl, found.rec)
    maps = {method: smoothed(values) for method, values in found.maps.items() if method in methods}
    return CanonicalScores(maps, smoothed(found.residual), samples)


def _sample_scores(
    positions_mm: NDArray[np.float64], counted: BoolArray, kl: NDArray[np.float64], rec: NDArray[np.float64]
) -> SampleScores:
    slices = {"rec": rec, "kl": kl, "elbo": kl + rec}
    volume = {name: float(values[counted].mean()) for name, values in slices.items()}
    return SampleScores(positions_mm, counted, slices, volume)
