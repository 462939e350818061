"""The healthy reference of a model: statistics by place, modes, quantiles, findings (design [7], [73], [74])."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from vae_loc.errors import UnusableInput
from vae_loc.model.checkpoint import Checkpoint, with_reference
from vae_loc.model.facts import Kind
from vae_loc.model.network import Model, ready
from vae_loc.preprocessing.canonical import onto_grid, to_canonical
from vae_loc.preprocessing.open_scan import Scan, open_scan, prepare_scan
from vae_loc.preprocessing.pseudo_contrast import Appear
from vae_loc.scans.cases import Case
from vae_loc.scans.volume import read_labels
from vae_loc.scoring.aligned_scan import canonical_of
from vae_loc.scoring.healthy_modes import count_for
from vae_loc.scoring.learned_map import MIN_HOSTS
from vae_loc.system.array_store import ArrayStore
from vae_loc.training.cross_fit import CrossFit, FoldedBrain, Statistics, Sums, folds_of
from vae_loc.training.healthy_scores import PRIOR_SUBJECTS, HealthyBrain, healthy_of, sample_of, scored_brain, seen
from vae_loc.training.learned_judge import MadeLesions, judges_of
from vae_loc.vocabulary import BoolArray, BrainMask, FloatArray


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
    there are subjects enough and the contrast is that of real scans. Of `MIN_HOSTS` healthy people,
    from whom the network did not learn, a judge is learned (`learned_judge`); else the model keeps the one that it has.

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
    # put the subjects into folds; make modes of enough real scans, a judge of enough people, where the model has none
    subjects = {brain.case.subject for brain in brains}
    new_subjects = {brain.case.subject for brain in brains if not brain.learned}
    real = model.facts.training.synthesized_from is None
    count = count_for(len(subjects)) if real and "residual.mean" not in model.reference else 0
    fold_of = folds_of(list(subjects), modes=count > 0 or bool(model.modes))
    learns = not unselected and not model.judge and len(new_subjects) >= MIN_HOSTS

    # score each brain once, with made lesions too if it is new; the order of the cases has no influence
    template = {name: values for name, values in model.reference.items() if name == "template"}
    bare = ready(with_reference(model, template), device)
    scored, made = [], MadeLesions(bare, store)
    for brain in sorted(brains, key=lambda brain: (brain.case.subject, str(brain.case.scan))):
        canonical = seen(brain)
        scored.append(scored_brain(brain, canonical, bare, store))
        if learns and not brain.learned:
            made.add(canonical, scored[-1][1].features, fold_of[brain.case.subject])
        progress(brain.case.scan.name)

    # set each brain that the network did not learn from against the statistics, and the judge, of the other folds
    folded = [FoldedBrain(scores.features, _unannotated(of), fold_of[of.case.subject]) for of, scores in scored]
    given, prior = Statistics(model.reference, model.modes), prior_sums(model.reference, PRIOR_SUBJECTS)
    fit = CrossFit(folded, store, prior=prior, given=given, count=count, unselected=unselected)
    others = {fold: fit.statistics(frozenset({fold})) for fold in sorted({fold_of[of] for of in new_subjects})}
    judges = judges_of(made.specimens, others) if learns else dict.fromkeys([None, *others], model.judge)
    samples = []
    for brain, scores in scored:
        if not brain.learned:
            fold = fold_of[brain.case.subject]
            samples.append(sample_of(brain, scores, others[fold], judges[fold], store, contrast=model.facts.contrast))

    # a new scan will be set against the statistics of all
    everyone = fit.statistics()
    healthy = healthy_of(samples, len(new_subjects), model, _kind_of(brains, unselected=unselected))
    return with_reference(model, template | everyone.reference, healthy, everyone.modes, judges[None])


def _kind_of(brains: Sequence[HealthyBrain], *, unselected: bool) -> Kind:
    if unselected:
        return "ordinary"
    return "real" if all(brain.appear is None for brain in brains) else "simulated"


def _unannotated(brain: HealthyBrain) -> BoolArray:
    """Return the mask of a brain without its annotated lesions, bool (I, I, I)."""
    return brain.canonical.mask if brain.lesion is None else brain.canonical.mask & ~brain.lesion


def prior_sums(reference: Mapping[str, FloatArray], subjects: int) -> Sums:
    """Return the sums of the healthy people of a reference, as if they were so many; nothing if it has none."""
    sums = {}
    for name in [name.removesuffix(".sd") for name in reference if name.endswith(".sd")]:
        mean, sd = (reference[f"{name}.{part}"].astype(np.float64) for part in ("mean", "sd"))
        sums[name] = subjects * np.stack([sd > 0, mean, mean**2 + sd**2]) * (sd > 0)
    return sums
