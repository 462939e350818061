"""The healthy reference of a model: statistics by place, modes, quantiles, findings (design [7], [73], [74])."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vae_loc.errors import UnusableInput
from vae_loc.model.checkpoint import Checkpoint, with_reference
from vae_loc.model.facts import LEVELS, Healthy, Kind, quantiles, rounded
from vae_loc.model.network import Model, ready
from vae_loc.preprocessing.canonical import CanonicalVolume, all_from_canonical, onto_grid, to_canonical, with_fine
from vae_loc.preprocessing.open_scan import PreparedScan, Scan, open_scan, prepare_scan
from vae_loc.preprocessing.pseudo_contrast import Appear
from vae_loc.preprocessing.resampling import doubled_mask
from vae_loc.scans.cases import Case
from vae_loc.scans.volume import read_labels
from vae_loc.scoring.aligned_scan import canonical_of
from vae_loc.scoring.findings import candidates_of, extent_fpr, healthy_findings, known_findings
from vae_loc.scoring.healthy_modes import count_for
from vae_loc.scoring.locate import CanonicalScores, score_canonical, spread_of
from vae_loc.scoring.normalised_maps import normalised_maps
from vae_loc.system.array_store import ArrayStore
from vae_loc.training.cross_fit import CrossFit, FoldedBrain, Statistics, Sums, folds_of
from vae_loc.vocabulary import MAPS, METHODS, SAMPLE_SCORES, BoolArray, BrainMask, FloatArray, Method

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
class _Sample:
    """Scores of one scan: signed maps, magnitudes of some voxels (N,), slices (S,), volume, spread, and its lesion."""

    signed: dict[Method, FloatArray]
    maps: dict[Method, FloatArray]
    raw_maps: dict[Method, FloatArray]
    slices: dict[str, NDArray[np.float64]]
    volumes: dict[str, float]
    spread: float
    lesion: BoolArray | None


def calibrate_cases(
    model: Checkpoint,
    cases: Sequence[Case],
    *,
    brain_mask: BrainMask | None = None,
    device: str = "cpu",
    appear_of: Callable[[Case], Appear | None] = lambda _: None,
    learned: Container[str] = (),
    progress: Callable[[str], None] = lambda _: None,
) -> Checkpoint:
    """Return a copy of `model` with the healthy distribution of each score on these scans.

    Parameters
    ----------
    cases : healthy scans; each is read once
    brain_mask : None takes the mask beside each scan where there is one, else `auto`
    appear_of : the look of each case, for models of a synthesized contrast
    learned : subjects that the network learned from; see `HealthyBrain`
    progress : called once for each scan

    Raises
    ------
    UnusableInput : if there is no case, or one cannot be read.
    """
    bare = ready(model, device)
    with ArrayStore() as store:
        brains = []
        for case in cases:
            brain = _read(open_scan(case, brain_mask=brain_mask), case, bare, store, appear_of(case))
            brains.append(replace(brain, learned=case.subject in learned))
            progress(case.scan.name)
        return calibrate_healthy(model, brains, device=device, store=store)


def calibrate_unselected(
    model: Checkpoint,
    scans: Sequence[tuple[Case, Path | None]],
    *,
    brain_mask: BrainMask | None = None,
    device: str = "cpu",
    progress: Callable[[str], None] = lambda _: None,
) -> Checkpoint:
    """Return a copy of `model` with the usual distribution of each score on ordinary scans, of ill people too.

    Each place has the median and 1.4826 MAD of the scans, blended with the model's own; each quantile is the median of
    the scans' own; the strongest candidate of a scan is left out, since it may be its disease (design [95]). That holds
    where disease differs in place from patient to patient.

    Parameters
    ----------
    scans : each with the annotation of its lesions, whose voxels and candidates are left out instead; None without one
    brain_mask, progress : see `calibrate_cases`

    Raises
    ------
    UnusableInput : if there is no scan, or a scan or annotation cannot be read.
    """
    bare = ready(model, device)
    with ArrayStore() as store:
        brains = []
        for case, annotation in scans:
            scan = open_scan(case, brain_mask=brain_mask)
            lesion = None if annotation is None else read_labels(annotation, scan.volume)[0]
            brains.append(_read(scan, case, bare, store, lesion=lesion))
            progress(case.scan.name)
        return calibrate_healthy(model, brains, device=device, store=store, unselected=True)


def _read(
    scan: Scan,
    case: Case,
    model: Model,
    store: ArrayStore,
    appear: Appear | None = None,
    lesion: BoolArray | None = None,
) -> HealthyBrain:
    """Return a scan's brain, aligned as for scoring; its annotated voxels, bool (I, J, K), no longer count."""
    facts, brain = model.facts, scan.brain if lesion is None else scan.brain & ~lesion
    prepared = prepare_scan(scan, image_size=facts.network.image_size, store=store)
    if appear is None:
        canonical = replace(canonical_of(scan, model), fine=None)
    else:
        source = facts.training.synthesized_from or facts.contrast
        canonical = to_canonical(prepared.smooth, contrast=source, template=model.reference.get("template"))
    prepared = replace(prepared, packed=store.kept(np.packbits(brain)))
    if lesion is not None:
        lesion = onto_grid(lesion.astype(np.float32), scan.volume, scan.brain, canonical.grid) > 0
    return HealthyBrain(case, prepared, canonical, appear, lesion=lesion)


def calibrate_healthy(
    model: Checkpoint,
    brains: Sequence[HealthyBrain],
    *,
    device: str = "cpu",
    store: ArrayStore,
    progress: Callable[[str], None] = lambda _: None,
    unselected: bool = False,
) -> Checkpoint:
    """Return a copy of `model` with the healthy distribution of each score on these brains.

    The statistics by place are those of all subjects; a subject's scores are set against those of others (`cross_fit`),
    else its voxels would look more usual than a new subject's. Modes that the model has stay; others are made where
    there are subjects enough and the contrast is that of real scans.

    Parameters
    ----------
    store : keeps the scores of the brains, so that each is scored once
    progress : called once for each brain
    unselected : whether they are of ill people too; see `calibrate_unselected`

    Raises
    ------
    UnusableInput : if there is no brain that the network did not learn from, or TMPDIR is full.
    """
    if all(brain.learned for brain in brains):
        raise UnusableInput("calibration", "expected at least one healthy scan, got none")
    # score each brain once; the order of the cases has no influence
    template = {name: values for name, values in model.reference.items() if name == "template"}
    bare = ready(with_reference(model, template), device)
    scored = []
    for brain in sorted(brains, key=lambda brain: (brain.case.subject, str(brain.case.scan))):
        scored.append(_scored(brain, bare, store))
        progress(brain.case.scan.name)

    # put the subjects into folds; make modes of enough real scans where the model has none
    subjects = {brain.case.subject for brain, _ in scored}
    new_and_real = "residual.mean" not in model.reference and model.facts.training.synthesized_from is None
    count = count_for(len(subjects)) if new_and_real else 0
    fold_of = folds_of(list(subjects), modes=count > 0 or bool(model.modes))
    folded = [
        FoldedBrain(scores.features, _unannotated(brain), fold_of[brain.case.subject]) for brain, scores in scored
    ]
    given = Statistics(model.reference, model.modes)
    fit = CrossFit(
        folded,
        store,
        prior=prior_sums(model.reference, PRIOR_SUBJECTS),
        given=given,
        count=count,
        unselected=unselected,
    )

    # set each brain that the network did not learn from against the statistics of the other folds
    new = [(brain, scores) for brain, scores in scored if not brain.learned]
    samples, new_subjects = [], {brain.case.subject for brain, _ in new}
    for fold in sorted({fold_of[subject] for subject in new_subjects}):
        others = fit.statistics(frozenset({fold}))
        of_fold = [(brain, scores) for brain, scores in new if fold_of[brain.case.subject] == fold]
        samples += [_sample(brain, scores, others, store, model.facts.contrast) for brain, scores in of_fold]

    # a new scan will be set against the statistics of all
    everyone = fit.statistics()
    kind: Kind = "simulated" if any(brain.appear is not None for brain, _ in new) else "real"
    healthy = _healthy(samples, len(new_subjects), model, "ordinary" if unselected else kind)
    return with_reference(model, template | everyone.reference, healthy, everyone.modes)


def _unannotated(brain: HealthyBrain) -> BoolArray:
    """Return the mask of a brain without its annotated lesions, bool (I, I, I)."""
    return brain.canonical.mask if brain.lesion is None else brain.canonical.mask & ~brain.lesion


def _scored(brain: HealthyBrain, model: Model, store: ArrayStore) -> tuple[HealthyBrain, CanonicalScores]:
    """Return a brain in the look that the network saw, and its scores; their arrays are kept outside memory."""
    fine = with_fine(brain.canonical, brain.scan.smooth)
    canonical = fine if brain.appear is None else brain.appear(fine)
    scores = score_canonical(canonical, model, METHODS)
    kept = replace(
        scores,
        raw_maps={method: store.kept(values) for method, values in scores.raw_maps.items()},
        features={name: store.kept(values) for name, values in scores.features.items()},
    )
    return replace(brain, canonical=replace(canonical, data=store.kept(canonical.data), fine=None)), kept


def prior_sums(reference: Mapping[str, FloatArray], subjects: int) -> Sums:
    """Return the sums of the healthy people of a reference, as if they were so many; nothing if it has none."""
    sums = {}
    for name in [name.removesuffix(".sd") for name in reference if name.endswith(".sd")]:
        mean, sd = (reference[f"{name}.{part}"].astype(np.float64) for part in ("mean", "sd"))
        sums[name] = subjects * np.stack([sd > 0, mean, mean**2 + sd**2]) * (sd > 0)
    return sums


def _sample(
    brain: HealthyBrain, scores: CanonicalScores, others: Statistics, store: ArrayStore, contrast: str
) -> _Sample:
    """Return an even sample of a scan's voxels, and its other scores, set against the statistics of other subjects."""
    canonical, inside = brain.canonical, brain.scan.brain
    signed = normalised_maps(scores.features, canonical.mask, others.reference, MAPS, others.modes, contrast=contrast)
    step = max(1, int(np.count_nonzero(inside)) // MAX_VOXELS_PER_SCAN)

    def voxels(maps: dict[Method, FloatArray]) -> dict[Method, FloatArray]:
        magnitudes = [np.abs(values) for values in maps.values()]
        on_grid = all_from_canonical(magnitudes, canonical, brain.scan.affine, inside)
        return {method: values[inside][::step] for method, values in zip(maps, on_grid, strict=True)}

    of_scan = scores.samples
    return _Sample(
        signed={method: store.kept(values) for method, values in signed.items()},
        maps=voxels(signed),
        raw_maps=voxels(scores.raw_maps),
        slices={name: of_scan.slices[name][of_scan.counted] for name in SAMPLE_SCORES},
        volumes={name: of_scan.volume[name] for name in SAMPLE_SCORES},
        spread=spread_of(scores.features, canonical.mask, others.reference),
        lesion=brain.lesion,
    )


def _healthy(samples: Sequence[_Sample], subjects: int, model: Checkpoint, kind: Kind) -> Healthy:
    """Return the quantiles of all samples, and the findings in each beside those that the model has."""

    def pooled(of_scans: Sequence[NDArray[np.floating]]) -> list[float]:
        if kind == "ordinary":
            return [rounded(q) for q in np.median([quantiles(values) for values in of_scans], axis=0)]
        return quantiles(np.concatenate(of_scans))

    maps = {method: pooled([of.maps[method] for of in samples]) for method in MAPS}
    findings = {}
    for method in MAPS:
        known = known_findings(model.facts, method)
        extent = known.extent if known else float(np.interp(1 - extent_fpr(model.facts.contrast), LEVELS, maps[method]))
        strengths = [_strengths(of, method, extent, kind) for of in samples]
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


def _strengths(of: _Sample, method: Method, extent: float, kind: Kind) -> list[float]:
    """Return the strengths of a scan's candidates that may be disease in nobody's view, strongest first.

    Those on an annotated lesion are left out; of an ordinary scan without annotation, the strongest is.
    """
    labels, candidates = candidates_of(of.signed[method], extent)
    ill: set[int] = set()
    if of.lesion is not None:
        ill = set(np.unique(labels[of.lesion if of.lesion.shape == labels.shape else doubled_mask(of.lesion)]))
    strengths = sorted((c.strength for c in candidates if c.label not in ill), reverse=True)
    return strengths[1:] if kind == "ordinary" and of.lesion is None else strengths
