"""Figures are those of scikit-learn, torchmetrics, brute force and the hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from vae_loc.evaluation.metrics import (
    above,
    binned,
    curve,
    dice_at,
    mean_interval,
    pooled_intervals,
    quantile_edges,
    rank,
    rank_sorted,
    resampled_subjects,
)
from vae_loc.evaluation.record import Interval


def draws(seed, n=2000, levels=30):
    rng = np.random.default_rng(seed)
    labels = rng.random(n) < 0.2
    return labels, np.round(rng.normal(labels, 1) * levels / 6).astype(np.float32)


@pytest.mark.parametrize("levels", [3, 30, 1e6])
@pytest.mark.parametrize("seed", range(5))
def test_auroc_and_average_precision_equal_scikit_learn(seed, levels):
    labels, scores = draws(seed, levels=levels)
    found = rank(labels, scores)
    assert found.auroc == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
    assert found.average_precision == pytest.approx(average_precision_score(labels, scores), abs=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_oracle_dice_and_its_threshold_equal_brute_force(seed):
    labels, scores = draws(seed)
    brute = {t: 2 * (labels & (scores >= t)).sum() / (labels.sum() + (scores >= t).sum()) for t in np.unique(scores)}
    found = rank(labels, scores)
    assert found.best_dice == max(brute.values())
    mask = scores > found.best_threshold
    assert 2 * (labels & mask).sum() / (labels.sum() + mask.sum()) == found.best_dice


def test_torchmetrics_agrees_where_it_overlaps():
    torch = pytest.importorskip("torch")
    functional = pytest.importorskip("torchmetrics.functional.classification")
    labels, scores = draws(1)
    squashed = 1 / (1 + np.exp(-scores))
    found = rank(labels, squashed)
    args = torch.from_numpy(squashed), torch.from_numpy(labels.astype(int))
    assert found.auroc == pytest.approx(float(functional.binary_auroc(*args)), abs=1e-6)
    assert found.average_precision == pytest.approx(float(functional.binary_average_precision(*args)), abs=1e-6)
    f1 = float(functional.binary_f1_score(*args, threshold=0.5))
    assert dice_at(np.sort(squashed[labels]), np.sort(squashed[~labels]), 0.5) == pytest.approx(f1, abs=1e-6)


def test_a_3x3_example_by_hand():
    """Falling: 9+ 8- 7+ 7- 5+, the rest negative. P = 3, N = 6.

    Operating points (tp, fp): 9 (1, 0), 8 (1, 1), 7 (2, 2), 5 (3, 2), then the three below.
    AUROC = (1 * 1 + 1 * 1.5 + 4 * 3 - 0) / 18 with the tie at 7 counted half: fp rises by 1 at tp 1,
    by 1 at tp 1 to 2, by 3 + ... at tp 3: (1 + 1.5 + 4 * 3) / 18.
    AP = 1/3 (1/1 + 2/4 + 3/5). Dice: 2/4, 2/5, 4/7, 6/8, ...: the best is 6/8 above 4.99...
    """
    scores = np.array([[9, 8, 7], [7, 5, 3], [2, 1, 0]], dtype=np.float32)
    labels = np.array([[1, 0, 1], [0, 1, 0], [0, 0, 0]]) > 0
    found = rank(labels, scores)
    assert found.auroc == pytest.approx((1 + 1.5 + 4 * 3) / 18)
    assert found.average_precision == pytest.approx((1 + 0.5 + 0.6) / 3)
    assert found.best_dice == pytest.approx(6 / 8)
    assert found.best_threshold == pytest.approx(5, abs=1e-6)
    assert found.best_threshold < 5


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 6), st.sampled_from([1, 3, 10, 50]), st.sampled_from([2, 20, 1e9]))
def test_many_parts_in_small_memory_rank_as_one(seed, parts, max_scores, levels):
    labels, scores = draws(seed, n=300, levels=levels)
    owner = np.random.default_rng(seed).integers(parts, size=300)
    positives = [np.sort(scores[labels & (owner == i)]) for i in range(parts)]
    negatives = [np.sort(scores[~labels & (owner == i)]) for i in range(parts)]
    split, whole = rank_sorted(positives, negatives, max_scores=max_scores), rank(labels, scores)
    assert split.best_threshold == whole.best_threshold
    assert split.best_dice == whole.best_dice
    assert split.auroc == pytest.approx(whole.auroc, abs=1e-12)
    assert split.average_precision == pytest.approx(whole.average_precision, abs=1e-12)


def test_what_is_undefined_is_none():
    scores = np.arange(4, dtype=np.float32)
    healthy, ill = rank(np.zeros(4, bool), scores), rank(np.ones(4, bool), scores)
    assert (healthy.auroc, healthy.average_precision, healthy.best_dice, healthy.best_threshold) == (None,) * 4
    assert (ill.auroc, ill.average_precision) == (None, None)
    assert ill.best_dice == 1
    assert dice_at(scores[:0], scores, 1.0) is None
    assert mean_interval([None, None]).mean is None


def test_nan_scores_are_refused():
    with pytest.raises(ValueError, match="NaN"):
        rank(np.array([True, False]), np.array([np.nan, 1.0]))


def test_above_is_strict_also_between_float32_values():
    scores = np.array([1, 2, 2, 3], dtype=np.float32)
    assert [above(scores, t) for t in (0.5, 2, 2.00000001, 3)] == [4, 1, 1, 0]


def test_the_bootstrap_resamples_subjects_not_voxels():
    """With two subjects the means can be only a, b or their middle, so that 95 % of them reach from a to b."""
    drawn = np.array([0.2, 0.6])[resampled_subjects(2, 0)]
    assert drawn.shape == (2000, 2)
    assert set(np.round(drawn.mean(axis=1), 6)) == {0.2, 0.4, 0.6}
    assert mean_interval([0.2, 0.6]) == Interval(mean=0.4, low=0.2, high=0.6, subjects=2)


def test_an_interval_is_that_of_its_seed_and_leaves_out_who_has_no_value():
    values = list(np.random.default_rng(0).random(12))
    assert mean_interval([*values, None], seed=1) == mean_interval(values, seed=1) != mean_interval(values, seed=2)
    means = np.array(values)[resampled_subjects(12, 1)].mean(axis=1)
    found = mean_interval(values, seed=1)
    assert (found.low, found.high) == tuple(np.percentile(means, (2.5, 97.5)))


def test_one_subject_has_no_interval():
    assert mean_interval([0.5, None]) == Interval(mean=0.5, low=None, high=None, subjects=1)


@pytest.mark.parametrize("seed", range(3))
def test_binned_figures_of_distinct_bins_are_the_exact_ones(seed):
    """Where every score has a bin of its own, the curve and the counts of the bins rank as the scores do."""
    labels, scores = draws(seed, n=300, levels=8)
    positives, negatives = [np.sort(scores[labels])], [np.sort(scores[~labels])]
    edges = np.unique(scores)
    counts = binned(positives, edges), binned(negatives, edges)
    assert [side.sum() for side in counts] == [labels.sum(), (~labels).sum()]
    rates = curve(*(side.sum(axis=0) for side in counts))
    exact = rank(labels, scores)
    assert np.nanmax(rates["dice"]) == pytest.approx(exact.best_dice)
    tpr, fpr = (np.array([0, *rates[name]]) for name in ("tpr", "fpr"))
    assert ((tpr[1:] + tpr[:-1]) / 2 * np.diff(fpr)).sum() == pytest.approx(exact.auroc)


def test_intervals_of_pooled_figures_hold_the_figures_themselves():
    parts = [draws(seed, n=200, levels=8) for seed in range(8)]
    positives, negatives = ([np.sort(scores[labels == side]) for labels, scores in parts] for side in (True, False))
    edges = quantile_edges(positives, negatives, 64)
    intervals = pooled_intervals(binned(positives, edges), binned(negatives, edges))
    exact = rank_sorted(positives, negatives)
    figures = {"auroc": exact.auroc, "average_precision": exact.average_precision, "oracle_dice": exact.best_dice}
    for name, (low, high) in intervals.items():
        assert low - 0.01 < figures[name] < high + 0.01
        assert 0 <= low < high <= 1


def test_one_subject_has_no_pooled_interval():
    labels, scores = draws(0, n=200, levels=8)
    edges = np.unique(scores)
    sides = ([np.sort(scores[labels])], [np.sort(scores[~labels])])
    intervals = pooled_intervals(*(binned(side, edges) for side in sides))
    assert set(intervals.values()) == {None}
