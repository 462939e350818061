"""The scores of one healthy brain, and the quantiles and findings of many (design [7], [73], [74])."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from vae_loc.model.checkpoint import Checkpoint
from vae_loc.model.facts import LEVELS, Healthy, Kind, quantiles, rounded
from vae_loc.model.network import Model
from vae_loc.preprocessing.canonical import CanonicalVolume, all_from_canonical, with_fine
from vae_loc.preprocessing.open_scan import PreparedScan
from vae_loc.preprocessing.pseudo_contrast import Appear
from vae_loc.preprocessing.resampling import doubled_mask
from vae_loc.scans.cases import Case
from vae_loc.scoring.findings import candidates_of, extent_fpr, healthy_findings, known_findings
from vae_loc.scoring.learned_map import Judge, likeness_of
from vae_loc.scoring.locate import CanonicalScores, score_canonical, spread_of
from vae_loc.scoring.normalised_maps import normalised_maps
from vae_loc.system.array_store import ArrayStore
from vae_loc.training.cross_fit import Statistics
from vae_loc.vocabulary import MAPS, METHODS, SAMPLE_SCORES, BoolArray, FloatArray, Method

MAX_VOXELS_PER_SCAN = 50_000  # evenly spaced sample: 155 scans x 10 maps stay below 320 MB
PRIOR_SUBJECTS = 10  # a site's 5 to 20 scans alone give no spread by place


@dataclass(frozen=True)
class HealthyBrain:
    """A brain of the reference, aligned to the model's template.

    Attributes
    ----------
    lesion : bool (I, I, I), annotated voxels, which are left out; None where nobody looked for lesions
    appear : gives it the look of a synthesized contrast
    learned : whether the network learned from it; it then counts for the statistics by place, but not for the
        quantiles and findings, since a new brain scores otherwise
    """

    case: Case
    scan: PreparedScan
    canonical: CanonicalVolume
    appear: Appear | None = None
    learned: bool = False
    lesion: BoolArray | None = None


@dataclass(frozen=True)
class Sample:
    """Scores of one scan: signed maps, magnitudes of some voxels (N,), slices (S,), volume, spread, and its lesion."""

    signed: dict[Method, FloatArray]
    maps: dict[Method, FloatArray]
    raw_maps: dict[Method, FloatArray]
    slices: dict[str, NDArray[np.float64]]
    volumes: dict[str, float]
    spread: float
    lesion: BoolArray | None


def seen(brain: HealthyBrain) -> CanonicalVolume:
    """Return a brain in the look that the network saw, with its fine intensities."""
    fine = with_fine(brain.canonical, brain.scan.smooth)
    return fine if brain.appear is None else brain.appear(fine)


def scored_brain(
    brain: HealthyBrain, canonical: CanonicalVolume, model: Model, store: ArrayStore
) -> tuple[HealthyBrain, CanonicalScores]:
    """Return a brain as the network saw it, and its scores; their arrays are kept outside memory."""
    scores = score_canonical(canonical, model, METHODS)
    kept = replace(
        scores,
        raw_maps={method: store.kept(values) for method, values in scores.raw_maps.items()},
        features={name: store.kept(values) for name, values in scores.features.items()},
    )
    return replace(brain, canonical=replace(canonical, data=store.kept(canonical.data), fine=None)), kept


def sample_of(
    brain: HealthyBrain, scores: CanonicalScores, others: Statistics, judge: Judge, store: ArrayStore, *, contrast: str
) -> Sample:
    """Return an even sample of a scan's voxels, and its other scores, set against the statistics of other subjects."""
    canonical, inside = brain.canonical, brain.scan.brain
    signed = normalised_maps(
        scores.features, canonical.mask, others.reference, MAPS, others.modes, contrast=contrast, judge=judge
    )
    step = max(1, int(np.count_nonzero(inside)) // MAX_VOXELS_PER_SCAN)

    def voxels(maps: dict[Method, FloatArray]) -> dict[Method, FloatArray]:
        magnitudes = [np.abs(values) for values in maps.values()]
        on_grid = all_from_canonical(magnitudes, canonical, brain.scan.affine, inside)
        return {method: values[inside][::step] for method, values in zip(maps, on_grid, strict=True)}

    of_scan = scores.samples
    return Sample(
        signed={method: store.kept(values) for method, values in signed.items()},
        maps=voxels(signed),
        raw_maps=voxels(scores.raw_maps),
        slices={name: of_scan.slices[name][of_scan.counted] for name in SAMPLE_SCORES},
        volumes={name: of_scan.volume[name] for name in SAMPLE_SCORES},
        spread=spread_of(scores.features, canonical.mask, others.reference),
        lesion=brain.lesion,
    )


def healthy_of(samples: Sequence[Sample], subjects: int, model: Checkpoint, kind: Kind) -> Healthy:
    """Return the quantiles of all samples, and the findings in each beside those that the model has."""

    def pooled(of_scans: Sequence[NDArray[np.floating]]) -> list[float]:
        if kind == "ordinary":
            return [rounded(q) for q in np.median([quantiles(values) for values in of_scans], axis=0)]
        return quantiles(np.concatenate(of_scans))

    methods = list(samples[0].maps)
    maps = {method: pooled([of.maps[method] for of in samples]) for method in methods}
    findings = {}
    for method in methods:
        known = known_findings(model.facts, method)
        extent = known.extent if known else float(np.interp(1 - extent_fpr(model.facts.contrast), LEVELS, maps[method]))
        likeness = (likeness_of(of.signed, method, model.facts) for of in samples)
        strengths = [_strengths(of, method, extent, kind, by) for of, by in zip(samples, likeness, strict=True)]
        findings[method] = healthy_findings(extent, strengths, known, prior_weight=PRIOR_SUBJECTS, kind=kind)
    return Healthy(
        subjects=subjects,
        maps=maps,
        raw_maps={method: pooled([of.raw_maps[method] for of in samples]) for method in METHODS},
        slices={name: pooled([of.slices[name] for of in samples]) for name in SAMPLE_SCORES},
        volumes={name: quantiles(np.array([of.volumes[name] for of in samples])) for name in SAMPLE_SCORES},
        findings=findings,
        spread=quantiles(np.array([of.spread for of in samples])),
    )


def _strengths(of: Sample, method: Method, extent: float, kind: Kind, likeness: FloatArray | None) -> list[float]:
    """Return the strengths of a scan's candidates that may be disease in nobody's view, strongest first.

    Those on an annotated lesion are left out; of an ordinary scan without annotation, the strongest is.
    """
    labels, candidates = candidates_of(of.signed[method], extent, likeness=likeness)
    ill: set[int] = set()
    if of.lesion is not None:
        ill = set(np.unique(labels[of.lesion if of.lesion.shape == labels.shape else doubled_mask(of.lesion)]))
    strengths = sorted((c.strength for c in candidates if c.label not in ill), reverse=True)
    return strengths[1:] if kind == "ordinary" and of.lesion is None else strengths
