"""Thresholds from a few annotated subjects: the best on a fifth, Dice on the other four (design [8])."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from vae_loc.errors import UnusableInput
from vae_loc.evaluation.metrics import dice_at, rank_sorted
from vae_loc.evaluation.score_store import ScoreStore
from vae_loc.model.checkpoint import Checkpoint, with_labelled
from vae_loc.model.facts import Labelled
from vae_loc.model.network import Model, ready
from vae_loc.preprocessing.open_scan import open_scan
from vae_loc.scans.annotations import LabelledCase
from vae_loc.scans.volume import read_labels
from vae_loc.scoring.locate import locate
from vae_loc.scoring.score_options import ScoreOptions
from vae_loc.system.array_store import ArrayStore
from vae_loc.vocabulary import METHODS, BrainMask, FloatArray, Method

PARTS = 5  # of the subjects: one to calibrate, four to report
MIN_DICE = 0.1  # of masks that meet the annotations at all
JUDGED: Method = "combi"  # the map that `segment` takes unless told otherwise
Parts = tuple[list[FloatArray], list[FloatArray]]


@dataclass(frozen=True)
class FoldDice:
    """One map of one fold: the threshold of the calibration fifth, the Dice of each reported scan."""

    method: str
    fold: int
    threshold: float
    calibration_dice: float
    dice: dict[str, float | None]  # by scan; None where nothing is annotated


def calibrate_labelled(
    checkpoint: Checkpoint,
    pairs: Sequence[LabelledCase],
    *,
    folds: int = 1,
    seed: int = 0,
    brain_mask: BrainMask | None = None,
    device: str = "cpu",
    progress: Callable[[str], None],
) -> tuple[Checkpoint, list[FoldDice]]:
    """Return a copy of `checkpoint` with thresholds of maximal Dice, and what they achieve on the others.

    Parameters
    ----------
    pairs : annotated scans of at least two subjects
    folds : over how many of the fifths the calibration is repeated, those without an annotated
        voxel left out; the threshold stored is the median of the folds'

    Raises
    ------
    UnusableInput : if a scan cannot be used, or no calibration fifth holds an annotated voxel.
    """
    parts = split_parts([pair.case.subject for pair in pairs], seed=seed)
    model = ready(checkpoint, device)
    with ArrayStore() as arrays:
        store = ScoreStore(arrays)
        for pair in pairs:
            _add(store, pair, model, brain_mask)
            progress(pair.case.scan.name)
        scores: dict[str, Parts] = {method: store.parts(method) for method in METHODS}
        rows = [
            row
            for method in METHODS
            for fold, chosen in enumerate(parts[:folds])
            if (row := _fold(method, fold, chosen, pairs, scores[method])) is not None
        ]
    if not rows:
        first = sorted(parts[0])[0]
        raise UnusableInput("cohort", f"expected annotated voxels in {first}, ..., found none; take another --seed")
    subjects = {pair.case.subject for pair in pairs}
    labelled = Labelled(
        thresholds={m: float(np.median([row.threshold for row in rows if row.method == m])) for m in METHODS},
        dice={m: _mean_and_sd([row for row in rows if row.method == m]) for m in METHODS},
        calibration_subjects=len(parts[0]),
        reported_subjects=len(subjects) - len(parts[0]),
        folds=len({row.fold for row in rows}),
        seed=seed,
    )
    return with_labelled(checkpoint, labelled), rows


def doubts(model: Checkpoint, rows: Sequence[FoldDice], *, folds: int) -> list[str]:
    """Return the warnings about thresholds from annotations that are unsure, one per line.

    Parameters
    ----------
    model : calibrated by `calibrate_labelled`, which returned `rows`
    folds : how many were asked for
    """
    labelled = model.facts.labelled
    if labelled is None:
        return []
    said = []
    if labelled.folds < folds:
        said.append(
            f"warning: --folds {folds} gave {labelled.folds}: the others have no subject, or no annotated voxel"
        )
    if labelled.calibration_subjects == 1:
        said.append(
            "warning: each threshold was chosen on one subject; from 10 annotated subjects on it is chosen on two"
        )
    poor = {name: dice for name, (dice, _) in labelled.dice.items() if dice is not None and dice < MIN_DICE}
    if poor:
        listed = ", ".join(f"{name} {dice:.2f}" for name, dice in poor.items())
        said.append(f"warning: masks by these thresholds hardly meet the annotations; Dice on the others: {listed}")
    if any(row.method == JUDGED for row in rows) and labelled.dice[JUDGED][0] is None:
        said.append("warning: no other subject has an annotated voxel, so that the thresholds could not be checked")
    return said


def refuse_poor(model: Checkpoint, *, force: bool) -> None:
    """Refuse thresholds by which the masks of `segment` would hardly meet the annotations, unless that is forced.

    Raises
    ------
    UnusableInput : saying what they achieve, and what to do.
    """
    labelled = model.facts.labelled
    dice = None if labelled is None else labelled.dice[JUDGED][0]
    if force or dice is None or dice >= MIN_DICE:
        return
    raise UnusableInput(
        "calibration",
        f"expected a Dice of at least {MIN_DICE:g} on the other subjects, got {dice:.2f} ({JUDGED}); nothing was "
        "stored. Check that the annotations are of these scans, or use the model as it is; --force stores them",
    )


def split_parts(subjects: Sequence[str], *, seed: int) -> list[set[str]]:
    """Split subjects into five parts (fewer if they are fewer), each to calibrate on once.

    Raises
    ------
    UnusableInput : with fewer than two subjects.
    """
    names = sorted(set(subjects))
    if len(names) < 2:
        raise UnusableInput("cohort", f"expected annotated scans of at least 2 subjects, found {len(names)}; add some")
    order = np.random.default_rng(seed).permutation(len(names))
    return [{names[i] for i in part} for part in np.array_split(order, min(PARTS, len(names)))]


def _add(store: ScoreStore, pair: LabelledCase, model: Model, brain_mask: BrainMask | None) -> None:
    """Score an annotated scan, and keep the scores of its voxels."""
    scan = open_scan(pair.case, brain_mask=brain_mask)
    truth, _ = read_labels(pair.label, scan.volume)
    located = locate(scan, model, ScoreOptions(methods=METHODS, force=True))
    for method in METHODS:
        store.add(method, truth[scan.brain], located.maps[method][scan.brain])


def _fold(method: str, fold: int, chosen: set[str], pairs: Sequence[LabelledCase], scores: Parts) -> FoldDice | None:
    """Calibrate on one fifth; None if nothing is annotated there."""
    inside = [pair.case.subject in chosen for pair in pairs]
    best = rank_sorted(*([part for part, used in zip(side, inside, strict=True) if used] for side in scores))
    if best.best_threshold is None or best.best_dice is None:
        return None
    return FoldDice(
        method=method,
        fold=fold,
        threshold=best.best_threshold,
        calibration_dice=best.best_dice,
        dice={
            str(pair.case.scan): dice_at(lesion, other, best.best_threshold)
            for pair, used, lesion, other in zip(pairs, inside, *scores, strict=True)
            if not used
        },
    )


def _mean_and_sd(rows: Sequence[FoldDice]) -> tuple[float | None, float | None]:
    """Return mean and standard deviation of the Dice over all reported scans and folds."""
    known = [dice for row in rows for dice in row.dice.values() if dice is not None]
    return (float(np.mean(known)), float(np.std(known, ddof=1)) if len(known) > 1 else None) if known else (None, None)
