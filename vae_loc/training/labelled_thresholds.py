"""Thresholds from a few annotated subjects: the best on a fifth, Dice on the other four (design [8])."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from vae_loc.errors import UnusableInput
from vae_loc.evaluation.metrics import dice_at, rank_sorted
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
MIN_DICE = 0.1  # of the masks on the reported scans; less, and the annotations are of something else
JUDGED: Method = "combi"  # the map that `segment` takes unless told otherwise
Scores = dict[Method, tuple[FloatArray, FloatArray]]  # of lesion and of other voxels, (N,) ascending


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
    """Return a copy of `checkpoint` with thresholds of maximal Dice, and their Dice on the other subjects.

    Parameters
    ----------
    pairs : annotated scans of at least two subjects
    folds : over how many of the fifths the calibration is repeated, those without an annotated
        voxel left out; the threshold stored is the median of the folds'

    Raises
    ------
    UnusableInput : if a scan cannot be used, or no calibration fifth holds an annotated voxel.
    """
    subjects = [pair.case.subject for pair in pairs]
    parts = split_parts(subjects, seed=seed)
    model = ready(checkpoint, device)
    with ArrayStore() as store:
        # score each annotated scan once
        scores = []
        for pair in pairs:
            scores.append(_scores(pair, model, brain_mask, store))
            progress(pair.case.scan.name)

        # choose a threshold for each map on one fifth at a time; the other subjects report its Dice
        rows = [
            row
            for method in METHODS
            for fold, chosen in enumerate(parts[:folds])
            if (row := _fold(method, fold, chosen, pairs, scores)) is not None
        ]
    if not rows:
        first = sorted(parts[0])[0]
        raise UnusableInput("cohort", f"expected annotated voxels in {first}, ..., found none; take another --seed")
    labelled = Labelled(
        thresholds={m: float(np.median([row.threshold for row in rows if row.method == m])) for m in METHODS},
        dice={m: _mean_and_sd([row for row in rows if row.method == m]) for m in METHODS},
        calibration_subjects=len(parts[0]),
        reported_subjects=len(set(subjects)) - len(parts[0]),
        folds=len({row.fold for row in rows}),
        seed=seed,
    )
    return with_labelled(checkpoint, labelled), rows


def doubts(labelled: Labelled, *, folds: int) -> list[str]:
    """Return the reasons to doubt thresholds from annotations, one warning per line.

    Parameters
    ----------
    folds : the number that was asked for
    """
    lines = []
    if labelled.folds < folds:
        lines.append(f"--folds {folds} gave {labelled.folds}: the others have no subject, or no annotated voxel")
    if labelled.calibration_subjects == 1:
        lines.append("each threshold was chosen on one subject; from 10 annotated subjects on it is chosen on two")
    poor = [f"{name} {dice:.2f}" for name, (dice, _) in labelled.dice.items() if dice is not None and dice < MIN_DICE]
    if poor:
        listed = ", ".join(poor)
        lines.append(f"masks by these thresholds hardly meet the annotations; Dice on the others: {listed}")
    if labelled.dice[JUDGED][0] is None:
        lines.append("no other subject has an annotated voxel, so that the thresholds could not be checked")
    return [f"warning: {line}" for line in lines]


def refuse_poor(labelled: Labelled) -> None:
    """Refuse thresholds whose masks, as `segment` makes them, hardly meet the annotations.

    Raises
    ------
    UnusableInput : with the Dice, and how to go on.
    """
    dice = labelled.dice[JUDGED][0]
    if dice is None or dice >= MIN_DICE:
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


def _scores(pair: LabelledCase, model: Model, brain_mask: BrainMask | None, store: ArrayStore) -> Scores:
    """Return the sorted scores of an annotated scan's brain voxels, kept outside memory."""
    scan = open_scan(pair.case, brain_mask=brain_mask)
    lesion = read_labels(pair.label, scan.volume)[0][scan.brain]
    located = locate(scan, model, ScoreOptions(methods=METHODS, force=True))
    maps = {method: located.maps[method][scan.brain] for method in METHODS}
    return {
        method: (store.kept(np.sort(values[lesion])), store.kept(np.sort(values[~lesion])))
        for method, values in maps.items()
    }


def _fold(
    method: Method, fold: int, chosen: set[str], pairs: Sequence[LabelledCase], scores: Sequence[Scores]
) -> FoldDice | None:
    """Calibrate on one fifth; None if nothing is annotated there."""
    inside = [of[method] for pair, of in zip(pairs, scores, strict=True) if pair.case.subject in chosen]
    best = rank_sorted([lesion for lesion, _ in inside], [other for _, other in inside])
    if best.best_threshold is None or best.best_dice is None:
        return None
    dice = {
        str(pair.case.scan): dice_at(*of[method], best.best_threshold)
        for pair, of in zip(pairs, scores, strict=True)
        if pair.case.subject not in chosen
    }
    return FoldDice(method, fold, best.best_threshold, best.best_dice, dice)


def _mean_and_sd(rows: Sequence[FoldDice]) -> tuple[float | None, float | None]:
    """Return mean and standard deviation of the Dice over all reported scans and folds."""
    known = [dice for row in rows for dice in row.dice.values() if dice is not None]
    return (float(np.mean(known)), float(np.std(known, ddof=1)) if len(known) > 1 else None) if known else (None, None)
