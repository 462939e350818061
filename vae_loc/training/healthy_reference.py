"""Statistics of healthy brains: moments by place, modes, quantiles of each score, findings (design [7], [73], [74])."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from vae_loc.errors import UnusableInput
from vae_loc.model.checkpoint import Checkpoint, with_reference
from vae_loc.model.facts import LEVELS, Healthy, HealthyFindings, quantiles
from vae_loc.model.network import Model, ready
from vae_loc.preprocessing.canonical import CanonicalVolume, canonical_brain, with_fine
from vae_loc.preprocessing.open_scan import open_scan
from vae_loc.preprocessing.prepared_scan import PreparedScan, prepare_scan
from vae_loc.preprocessing.pseudo_contrast import Appear
from vae_loc.scans.cases import Case
from vae_loc.scoring.aligned_scan import refuse_other_preprocessing
from vae_loc.scoring.findings import extent_fpr, healthy_findings, strengths_of
from vae_loc.scoring.healthy_modes import count_for
from vae_loc.scoring.locate import CanonicalScores, score_canonical, spread_of
from vae_loc.scoring.normalised_maps import normalised_maps
from vae_loc.system.array_store import ArrayStore
from vae_loc.training.cross_fit import CrossFit, FoldedBrain, Statistics, Sums, folds_of
from vae_loc.vocabulary import MAPS, METHODS, SAMPLE_SCORES, BrainMask, FloatArray, Method

MAX_VOXELS_PER_SCAN = 50_000  # evenly spaced sample: 155 scans x 10 maps stay below 320 MB
PRIOR_SUBJECTS = 10  # a site's 5 to 20 scans alone give no spread by place
AppearOf = Callable[[Case], Appear | None]


@dataclass(frozen=True)
class HealthyBrain:
    """A healthy brain, aligned to the model's template.

    `appear` gives it the look of a synthesized contrast; `learned` says that the network learned from it: it tells
    what is usual at a place, but not how a new brain scores.
    """

    case: Case
    scan: PreparedScan
    canonical: CanonicalVolume
    appear: Appear | None = None
    learned: bool = False


@dataclass(frozen=True)
class _Scored:
    """A healthy brain as the network saw it, and its scores."""

    brain: HealthyBrain
    canonical: CanonicalVolume
    scores: CanonicalScores


def calibrate_cases(
    model: Checkpoint,
    cases: Sequence[Case],
    *,
    brain_mask: BrainMask | None = None,
    device: str = "cpu",
    appear_of: AppearOf = lambda _: None,
    learned: Container[str] = (),
    progress: Callable[[str], None] = lambda _: None,
) -> Checkpoint:
    """Return a copy of `model` that knows the healthy distribution of each score on these scans.

    Parameters
    ----------
    cases : healthy scans; each is read once
    brain_mask : None takes the mask beside each scan where there is one, else `auto`
    appear_of : for models of a synthesized contrast: how each case is made to look
    learned : subjects that the network learned from; see `HealthyBrain`
    progress : called once for each scan

    Raises
    ------
    UnusableInput : if there is no case, or one cannot be read.
    """
    with ArrayStore() as store:
        brains = []
        for case in cases:
            scan = open_scan(case, brain_mask=brain_mask)
            kept = prepare_scan(scan, image_size=model.facts.network.image_size, store=store)
            brains.append(healthy_brain(model, case, kept, appear_of(case), learned=case.subject in learned))
            progress(case.scan.name)
        return calibrate_healthy(model, brains, device=device, store=store)


def healthy_brain(
    model: Checkpoint, case: Case, scan: PreparedScan, appear: Appear | None = None, *, learned: bool = False
) -> HealthyBrain:
    """Return a healthy brain on the model's canonical grid; see `HealthyBrain`."""
    refuse_other_preprocessing(model)
    facts = model.facts
    canonical = canonical_brain(
        scan.smooth,
        image_size=facts.network.image_size,
        contrast=facts.contrast if appear is None else facts.training.synthesized_from or facts.contrast,
        template=model.reference.get("template"),
    )
    return HealthyBrain(case, scan, canonical, appear, learned)


def calibrate_healthy(
    model: Checkpoint,
    brains: Sequence[HealthyBrain],
    *,
    device: str = "cpu",
    store: ArrayStore,
    progress: Callable[[str], None] = lambda _: None,
) -> Checkpoint:
    """Return a copy of `model` that knows the healthy distribution of each score on these brains.

    The statistics by place are those of all subjects; a subject's scores are set against those of others (`cross_fit`),
    else its voxels would look more usual than a new subject's. Modes that the model has stay; others are made where
    there are subjects enough and the contrast is that of real scans.

    Parameters
    ----------
    store : keeps the scores of the brains, so that each is scored once
    progress : called once for each brain

    Raises
    ------
    UnusableInput : if there is no brain that the network did not learn from, or TMPDIR is full.
    """
    if all(brain.learned for brain in brains):
        raise UnusableInput("calibration", "expected at least one healthy scan, got none")
    template = {"template": model.reference["template"]} if "template" in model.reference else {}
    bare = ready(with_reference(model, template), device)
    scored = []
    for brain in sorted(brains, key=lambda brain: (brain.case.subject, str(brain.case.scan))):
        scored.append(_scored(brain, bare, store))
        progress(brain.case.scan.name)
    subjects = [scan.brain.case.subject for scan in scored]
    new_and_real = "residual.mean" not in model.reference and model.facts.training.synthesized_from is None
    count = count_for(len(set(subjects))) if new_and_real else 0
    folds = folds_of(subjects, modes=count > 0 or bool(model.modes))
    folded = [
        FoldedBrain(s.scores.features, s.canonical.mask, folds[name]) for s, name in zip(scored, subjects, strict=True)
    ]
    given = Statistics(model.reference, model.modes)
    fit = CrossFit(folded, store, prior=_prior(model), given=given, count=count)
    sample = _Sample(store, model.facts.contrast)
    for fold in sorted(set(folds.values())):
        judged = [scan for scan, of in zip(scored, folded, strict=True) if of.fold == fold and not scan.brain.learned]
        if judged:
            others = fit.statistics(frozenset({fold}))
            for scan in judged:
                sample.add(scan, others)
    final = fit.statistics()
    known = model.facts.healthy.findings if model.facts.healthy is not None else None
    return with_reference(model, template | final.reference, sample.healthy(known), final.modes)


def _scored(brain: HealthyBrain, model: Model, store: ArrayStore) -> _Scored:
    """Return the scores of a brain, their arrays kept outside memory."""
    fine = with_fine(brain.canonical, brain.scan.smooth)
    canonical = fine if brain.appear is None else brain.appear(fine)
    scores = score_canonical(canonical, model, METHODS)
    kept = replace(
        scores,
        raw_maps={method: store.kept(values) for method, values in scores.raw_maps.items()},
        features={name: store.kept(values) for name, values in scores.features.items()},
        residual=store.kept(scores.residual),
    )
    return _Scored(brain, replace(canonical, data=store.kept(canonical.data), fine=None), kept)


def _prior(model: Checkpoint) -> Sums:
    """Return the model's own sums over healthy brains, as of `PRIOR_SUBJECTS` of this site; none of a new model."""
    known = [name.removesuffix(".sd") for name in model.reference if name.endswith(".sd")]
    sums = {}
    for name in known:
        mean, sd = (model.reference[f"{name}.{part}"].astype(np.float64) for part in ("mean", "sd"))
        sums[name] = PRIOR_SUBJECTS * np.stack([sd > 0, mean, mean**2 + sd**2]) * (sd > 0)
    return sums


class _Sample:
    """Scores of healthy voxels, slices and volumes, scan by scan, and the signed maps that findings are taken from."""

    def __init__(self, store: ArrayStore, contrast: str) -> None:
        self.store = store
        self.contrast = contrast
        self.subjects: set[str] = set()
        self.signed: list[dict[Method, FloatArray]] = []
        self.spreads: list[float] = []
        self.maps: dict[Method, list[FloatArray]] = {method: [] for method in MAPS}
        self.raw_maps: dict[Method, list[FloatArray]] = {method: [] for method in METHODS}
        self.slices: dict[str, list[NDArray[np.float64]]] = {name: [] for name in SAMPLE_SCORES}
        self.volumes: dict[str, list[float]] = {name: [] for name in SAMPLE_SCORES}

    def add(self, scan: _Scored, others: Statistics) -> None:
        """Take an even sample of the scan's voxels, set against the statistics of other subjects."""
        features, mask = scan.scores.features, scan.canonical.mask
        maps = normalised_maps(features, mask, others.reference, MAPS, others.modes, contrast=self.contrast)
        self.subjects.add(scan.brain.case.subject)
        self.signed.append({method: self.store.kept(values) for method, values in maps.items()})
        self.spreads.append(spread_of(features, mask, others.reference))
        brain = scan.brain.scan.brain
        step = max(1, int(np.count_nonzero(brain)) // MAX_VOXELS_PER_SCAN)
        for kept, of in ((self.maps, maps), (self.raw_maps, scan.scores.raw_maps)):
            magnitudes = [np.abs(of[method]) for method in kept]
            on_grid = scan.brain.scan.on_own_grid(magnitudes, scan.canonical)
            for method, values in zip(kept, on_grid, strict=True):
                kept[method].append(values[brain][::step])
        samples = scan.scores.samples
        for name in SAMPLE_SCORES:
            self.slices[name].append(samples.slices[name][samples.counted])
            self.volumes[name].append(samples.volume[name])

    def healthy(self, known: Mapping[str, HealthyFindings] | None) -> Healthy:
        """Return the quantiles of all, and the findings in each scan beside those that were `known` before."""
        maps = {method: quantiles(np.concatenate(parts)) for method, parts in self.maps.items()}
        return Healthy(
            subjects=len(self.subjects),
            maps=maps,
            raw_maps={method: quantiles(np.concatenate(parts)) for method, parts in self.raw_maps.items()},
            slices={name: quantiles(np.concatenate(parts)) for name, parts in self.slices.items()},
            volumes={name: quantiles(np.array(values)) for name, values in self.volumes.items()},
            findings={method: self._findings(method, maps[method], (known or {}).get(method)) for method in MAPS},
            spread=quantiles(np.array(self.spreads)),
        )

    def _findings(self, method: Method, levels: list[float], known: HealthyFindings | None) -> HealthyFindings:
        extent = known.extent if known else float(np.interp(1 - extent_fpr(self.contrast), LEVELS, levels))
        strengths = [strengths_of(maps[method], extent) for maps in self.signed]
        return healthy_findings(extent, strengths, known, prior_weight=PRIOR_SUBJECTS)
