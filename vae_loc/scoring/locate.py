"""The story: one scan and one model in, anomaly maps on the scan's own grid out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from vae_loc.errors import UnusableModel
from vae_loc.model.checkpoint import Checkpoint
from vae_loc.model.facts import Preprocessing
from vae_loc.model.network import ScoreTerms
from vae_loc.preprocessing.brain_mask import find_brain
from vae_loc.preprocessing.canonical import (
    BACKGROUND_SD,
    CLIP_SD,
    FIELD_OF_VIEW_MM,
    CanonicalVolume,
    all_from_canonical,
    to_canonical,
)
from vae_loc.preprocessing.slices import from_slices, substantial, to_slices
from vae_loc.scans.volume import Volume
from vae_loc.scoring.normalised_maps import Features, features_of, normalised_maps, smoothed, with_polarity
from vae_loc.scoring.slice_scores import score_slices
from vae_loc.vocabulary import BoolArray, BrainMask, FloatArray, Method, Polarity

Appear = Callable[[CanonicalVolume], CanonicalVolume]

RAW_SMOOTHING_FWHM_MM = 6.0  # two canonical pixels: the same rule for all five bare maps (design [9])
PREPROCESSING = Preprocessing(
    field_of_view_mm=FIELD_OF_VIEW_MM,
    intensity="median-iqr",
    clip_sd=CLIP_SD,
    background_sd=BACKGROUND_SD,
    smoothing_fwhm_mm=RAW_SMOOTHING_FWHM_MM,
    pose="affine to template",
    mask="without dark rim",
    normalisation="two scales, levelled, by place, by scan; log-normal KL-Grad",
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
    raw_maps : float32 (I, I, I), the bare scores of each method, smoothed over the brain
    features : what the normalised maps are made of
    residual : float32 (I, I, I), x - g(mu), smoothed as the bare scores are
    """

    raw_maps: dict[Method, FloatArray]
    features: Features
    residual: FloatArray
    samples: SampleScores


@dataclass(frozen=True)
class Located:
    """What a model says of one scan.

    Attributes
    ----------
    volume : the scan
    brain : bool (I, J, K), the brain mask; `brain_source` says where it came from
    canonical : the brain as the network saw it
    canonical_maps, canonical_raw_maps : float32 (I, I, I) >= 0, the normalised and the bare maps
    scores : sample-wise scores
    warnings : what the user should know, one line each
    bare : whether `maps` are the bare scores

    The maps on the scan's own grid are made when they are first asked for.
    """

    volume: Volume
    brain: BoolArray
    brain_source: str
    canonical: CanonicalVolume
    canonical_maps: dict[Method, FloatArray]
    canonical_raw_maps: dict[Method, FloatArray]
    scores: SampleScores
    warnings: tuple[str, ...]
    bare: bool = False

    @cached_property
    def maps(self) -> dict[Method, FloatArray]:
        """Float32 (I, J, K) >= 0 on the scan's own grid for each method, zero outside the brain."""
        return self._on_grid(self.canonical_maps)

    @cached_property
    def raw_maps(self) -> dict[Method, FloatArray]:
        """The bare scores likewise."""
        return self._on_grid(self.canonical_raw_maps)

    def as_raw(self) -> Located:
        """Return the same with the bare scores as its maps."""
        return replace(self, canonical_maps=self.canonical_raw_maps, bare=True)

    def _on_grid(self, maps: dict[Method, FloatArray]) -> dict[Method, FloatArray]:
        found = all_from_canonical(list(maps.values()), self.canonical, self.volume, self.brain)
        return dict(zip(maps, found, strict=True))


def locate(
    volume: Volume,
    checkpoint: Checkpoint,
    network: ScoreTerms,
    *,
    brain_mask: BrainMask = "auto",
    brain: tuple[BoolArray, str] | None = None,
    methods: Sequence[Method] = ("combi",),
    polarity: Polarity = "any",
    appear: Appear | None = None,
) -> Located:
    """Score one scan.

    Parameters
    ----------
    volume : the scan
    checkpoint, network : what `load_checkpoint` read and `build_model` built from it
    brain_mask : a mask file, `auto`, or `none` for a volume that is brain everywhere
    brain : what `find_brain` found, where it is known already; then `brain_mask` has no say
    polarity : `bright` or `dark` keeps only what is brighter or darker than the model expects
    appear : gives the brain another look before it is scored; for models of synthesized contrasts

    Raises
    ------
    UnusableModel : if the model was trained on slices prepared in another way.
    UnusableInput : if no brain is found, or the mask does not fit.
    """
    mask, source = brain or find_brain(volume, brain_mask)
    canonical = canonical_of(volume, mask, checkpoint, appear)
    scores = score_canonical(canonical, checkpoint, network, methods)
    signed_raw = _signed(scores)
    signed = normalised_maps(scores.features, canonical.mask, checkpoint.places, methods) or signed_raw

    def of_polarity(maps: dict[Method, FloatArray]) -> dict[Method, FloatArray]:
        return {method: with_polarity(values, polarity) for method, values in maps.items()}

    maps, raw_maps = of_polarity(signed), of_polarity(signed_raw)
    warnings = volume.warnings + canonical.warnings
    return Located(volume, mask, source, canonical, maps, raw_maps, scores.samples, warnings)


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
    canonical: CanonicalVolume, checkpoint: Checkpoint, network: ScoreTerms, methods: Sequence[Method]
) -> CanonicalScores:
    """Score a brain on the canonical grid: bare maps, smoothed by the one rule for all, and features."""
    stack = to_slices(canonical)
    found = score_slices(network, stack, c=checkpoint.facts.network.c, methods=methods)

    def smooth(values: FloatArray) -> FloatArray:
        brain = from_slices(values, stack, canonical)
        return smoothed(brain, canonical.mask, canonical.grid.pixel_mm, RAW_SMOOTHING_FWHM_MM)

    samples = _sample_scores(stack.positions_mm, substantial(stack), found.kl, found.rec)
    fields = {name: from_slices(values, stack, canonical) for name, values in found.fields.items()}
    features = features_of(fields, canonical, curve=checkpoint.facts.training.synthesized_from is not None)
    raw_maps = {method: smooth(found.map(method)) for method in methods}
    return CanonicalScores(raw_maps, features, smooth(found.fields["residual"]), samples)


def _signed(scores: CanonicalScores) -> dict[Method, FloatArray]:
    """Return the bare maps with the sign of the residual."""
    sign = np.sign(scores.residual)
    return {method: values * sign for method, values in scores.raw_maps.items()}


def _sample_scores(
    positions_mm: NDArray[np.float64], counted: BoolArray, kl: NDArray[np.float64], rec: NDArray[np.float64]
) -> SampleScores:
    slices = {"rec": rec, "kl": kl, "elbo": kl + rec}
    volume = {name: float(values[counted].mean()) for name, values in slices.items()}
    return SampleScores(positions_mm, counted, slices, volume)
