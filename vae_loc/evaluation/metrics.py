"""Figures of a score that ranks lesion voxels: arrays in, numbers out. Which to trust: `docs/reference/metrics.md`.

Every distinct score is an operating point: with tp and fp the voxels at or above it,

    AUROC = sum (fp_n - fp_n-1) (tp_n + tp_n-1) / 2 / (P N)          (Mann-Whitney, ties count half)
    AP    = sum (tp_n - tp_n-1) / P * tp_n / (tp_n + fp_n)           (step-wise; ties share one point)
    Dice  = 2 tp / (P + tp + fp)                                     (the oracle takes the best of all)

A figure without positives or without negatives is undefined: None, never 0 or NaN.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vae_loc.evaluation.record import Interval

Floats = NDArray[np.floating]
Counts = NDArray[np.int64]

MAX_SCORES = 4_000_000  # sorted together at a time: 100 MB
BINS = 2048  # of pooled curves and their intervals
RESAMPLES = 2000  # of the bootstrap
PERCENTILES = (2.5, 97.5)  # percentiles: 95 %
EDGE_SAMPLE = 20  # scores looked at for every edge
MIN_SUBJECTS = 2  # fewer have no spread


@dataclass(frozen=True)
class Ranking:
    """Figures of a score on voxels with known labels.

    Attributes
    ----------
    auroc, average_precision : 0 to 1, or None if one class is missing
    best_dice : the ORACLE Dice, of the best threshold in hindsight; None without positives
    best_threshold : scores ABOVE it make the mask of `best_dice`
    """

    positives: int
    negatives: int
    auroc: float | None
    average_precision: float | None
    best_dice: float | None
    best_threshold: float | None


def rank(labels: NDArray[np.bool_], scores: Floats) -> Ranking:
    """Return the ranking of `scores` (any shape, finite) by `labels` (bool, the same shape).

    >>> rank(np.array([0, 0, 1, 1]) > 0, np.array([0.1, 0.4, 0.35, 0.8])).auroc
    0.75
    """
    return rank_sorted([np.sort(scores[labels])], [np.sort(scores[~labels])])


def rank_sorted(positives: Sequence[Floats], negatives: Sequence[Floats], *, max_scores: int = MAX_SCORES) -> Ranking:
    """Rank many subjects together, exactly, in bounded memory.

    Parameters
    ----------
    positives, negatives : scores of each subject in ascending order; may be memory-mapped
    max_scores : about how many are held at a time

    Raises
    ------
    ValueError : if a score is NaN.
    """
    parts = (*positives, *negatives)
    if any(len(part) and np.isnan(part[-1]) for part in parts):
        raise ValueError("expected scores without NaN")
    p, n = (sum(len(part) for part in side) for side in (positives, negatives))
    tp = fp = 0
    area = precision_sum = best_dice = 0.0
    best: float | None = None
    for values, more_tp, more_fp in _falling(positives, negatives, max_scores):
        tps, fps = tp + np.cumsum(more_tp), fp + np.cumsum(more_fp)
        area += float(np.sum(more_fp * (tps - more_tp / 2)))
        precision_sum += float(np.sum(more_tp * (tps / (tps + fps))))
        dice = 2 * tps / (p + tps + fps)
        top = int(dice.argmax())
        if p and dice[top] > best_dice:
            best_dice, best = float(dice[top]), float(np.nextafter(values[top], values.dtype.type(-np.inf)))
        tp, fp = int(tps[-1]), int(fps[-1])
    return Ranking(
        positives=p,
        negatives=n,
        auroc=area / p / n if p and n else None,
        average_precision=precision_sum / p if p and n else None,
        best_dice=best_dice if p else None,
        best_threshold=best,
    )


def dice_at(positives: Floats, negatives: Floats, threshold: float) -> float | None:
    """Return the Dice of the voxels above `threshold`, 0 to 1; None without positives.

    Parameters
    ----------
    positives, negatives : (N,) scores of lesion voxels and of the others, ascending
    """
    tp, fp = above(positives, threshold), above(negatives, threshold)
    return 2 * tp / (len(positives) + tp + fp) if len(positives) else None


def above(scores: Floats, threshold: float) -> int:
    """Return the number of `scores` (N,), ascending, above `threshold`, as `scores > threshold` counts them."""
    edge = scores.dtype.type(threshold)  # in the scores' own type, else numpy copies them all to float64
    if edge > threshold:
        edge = np.nextafter(edge, scores.dtype.type(-np.inf))
    return len(scores) - int(np.searchsorted(scores, edge, side="right"))


def mean_interval(values: Sequence[float | None], *, seed: int = 0) -> Interval:
    """Return mean over the subjects that have a value, its 95 % bootstrap interval, and how many they are.

    Subjects are resampled with replacement, `RESAMPLES` times; never voxels.
    """
    known = np.array([value for value in values if value is not None])
    if not len(known):
        return Interval(mean=None, low=None, high=None, subjects=0)
    low = high = None
    if len(known) >= MIN_SUBJECTS:
        means = known[resampled_subjects(len(known), seed)].mean(axis=1)
        low, high = (float(value) for value in np.percentile(means, PERCENTILES))
    return Interval(mean=float(known.mean()), low=low, high=high, subjects=len(known))


def subject_interval(subjects: Sequence[str], values: Sequence[float | None], *, seed: int = 0) -> Interval:
    """Return `mean_interval` of the mean of each subject's scans, so that a subject counts once.

    >>> found = subject_interval(["a", "b", "a"], [1.0, None, 0.0])
    >>> found.mean, found.subjects
    (0.5, 1)
    """
    known: dict[str, list[float]] = {subject: [] for subject in subjects}
    for subject, value in zip(subjects, values, strict=True):
        if value is not None:
            known[subject].append(value)
    return mean_interval([float(np.mean(of)) if of else None for of in known.values()], seed=seed)


def binned(parts: Sequence[Floats], edges: Floats) -> Counts:
    """Return the number of scores of each part between two edges, highest bin first: int (S, B).

    Parameters
    ----------
    parts : scores of each subject, ascending
    edges : ascending; the first and last bin are open
    """
    below = np.array([np.searchsorted(part, edges.astype(part.dtype)) for part in parts]).reshape(len(parts), -1)
    totals = np.array([[len(part)] for part in parts])
    counts: Counts = np.diff(np.hstack([np.zeros_like(totals), below, totals]))[:, ::-1]
    return counts


def quantile_edges(positives: Sequence[Floats], negatives: Sequence[Floats], bins: int) -> Floats:
    """Return at most `bins` distinct edges, (B,) ascending, at which both classes are cut evenly.

    Parameters
    ----------
    positives, negatives : scores (N,) of each subject, ascending
    """
    sides = []
    for side in (positives, negatives):
        step = max(1, sum(len(part) for part in side) // (EDGE_SAMPLE * bins))
        sampled = np.sort(np.concatenate([np.asarray(part[::step]) for part in side] or [np.zeros(0, np.float32)]))
        if len(sampled):
            sides.append(sampled[np.linspace(0, len(sampled) - 1, bins // 2).astype(int)])
    return np.unique(np.concatenate(sides))


def curve(positives: NDArray[np.number], negatives: NDArray[np.number]) -> dict[str, NDArray[np.float64]]:
    """Return rates at each bin, highest bin first: tpr, fpr, precision and dice, float64 (..., B); NaN where undefined.

    Parameters
    ----------
    positives, negatives : counts (..., B) of lesion voxels and of the others, highest bin first
    """
    tp, fp = (np.cumsum(side, axis=-1, dtype=np.float64) for side in (positives, negatives))
    p, n = tp[..., -1:], fp[..., -1:]
    with np.errstate(invalid="ignore", divide="ignore"):
        return {"tpr": tp / p, "fpr": fp / n, "precision": tp / (tp + fp), "dice": 2 * tp / (p + tp + fp)}


def pooled_intervals(positives: Counts, negatives: Counts, *, seed: int = 0) -> dict[str, tuple[float, float] | None]:
    """Return 95 % intervals of pooled AUROC, average precision and oracle Dice; subjects are resampled.

    Parameters
    ----------
    positives, negatives : (S, B) counts of each subject, highest bin first; scores in one bin are taken as tied
    """
    subjects = len(positives)
    picks = resampled_subjects(subjects, seed)
    drawn: dict[str, list[NDArray[np.float64]]] = {"auroc": [], "average_precision": [], "oracle_dice": []}
    for some in np.array_split(picks, max(1, RESAMPLES // 100)):
        weights = np.stack([np.bincount(row, minlength=subjects) for row in some]).astype(np.float64)
        p, n = weights @ positives, weights @ negatives
        rates = curve(p, n)
        with np.errstate(invalid="ignore", divide="ignore"):
            middle = rates["tpr"] - p / p.sum(axis=1, keepdims=True) / 2
            drawn["auroc"].append((n / n.sum(axis=1, keepdims=True) * middle).sum(axis=1))
            step = p / p.sum(axis=1, keepdims=True) * np.where(p > 0, rates["precision"], 0)
        drawn["average_precision"].append(step.sum(axis=1))
        drawn["oracle_dice"].append(rates["dice"].max(axis=1))
    intervals: dict[str, tuple[float, float] | None] = dict.fromkeys(drawn)
    for name, values in drawn.items():
        known = np.concatenate(values)
        known = known[np.isfinite(known)]
        if subjects >= MIN_SUBJECTS and len(known):
            low, high = np.clip(np.percentile(known, PERCENTILES), 0, 1)  # sums of rates may pass 1 by rounding
            intervals[name] = float(low), float(high)
    return intervals


def resampled_subjects(count: int, seed: int) -> NDArray[np.intp]:
    """Return indices (`RESAMPLES`, count) of subjects drawn with replacement."""
    return np.random.default_rng(seed).integers(count, size=(RESAMPLES, count))


def _falling(
    positives: Sequence[Floats], negatives: Sequence[Floats], max_scores: int
) -> Iterator[tuple[Floats, Counts, Counts]]:
    """Yield (distinct scores, positives there, negatives there), highest first, about `max_scores` at a time."""
    # the scores at which the parts are cut
    parts = [part for part in (*positives, *negatives) if len(part)]
    cuts = np.zeros(0)
    if sum(len(part) for part in parts) > max_scores:
        step = max(1, max_scores // (4 * len(parts)))
        landmarks = np.sort(np.concatenate([np.asarray(part[::step], dtype=np.float64) for part in parts]))
        every = max(1, max_scores // step)
        cuts = np.unique(landmarks[every::every])
    pieces = [
        [np.split(part, np.searchsorted(part, cuts.astype(part.dtype))) for part in of] for of in (positives, negatives)
    ]
    for place in range(len(cuts), -1, -1):
        # each class in one array, then where each distinct score begins in it
        sides = [
            np.sort(np.concatenate([piece[place] for piece in of])) if of else np.zeros(0, np.float32) for of in pieces
        ]
        values = np.unique(np.concatenate(sides))
        counts = [np.diff(np.searchsorted(side, values), append=len(side)) for side in sides]
        if len(values):
            yield values[::-1], counts[0][::-1], counts[1][::-1]
