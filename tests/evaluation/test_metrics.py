"""Figures are those of scikit-learn, torchmetrics, brute force and the hand."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
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
    assert mean_interval([None, None]) == Interval(mean=None, low=None, high=None, subjects=0)


def test_a_class_without_subjects_is_one_without_voxels():
    scores = np.array([-2, -1, 3], dtype=np.float32)
    assert rank_sorted([], [scores]) == rank_sorted([scores[:0]], [scores])
    assert rank_sorted([scores], []) == rank_sorted([scores], [scores[:0]])


@pytest.mark.parametrize("max_scores", [1, 100])
def test_of_thresholds_of_one_dice_the_highest_is_best(max_scores):
    """Lesion 4 and 1, others 3 and 2: Dice 2 / (2 + 1) at or above 4, and 4 / (2 + 4) at or above 1."""
    best = rank_sorted([np.array([1.0, 4.0])], [np.array([2.0, 3.0])], max_scores=max_scores)
    assert best.best_dice == pytest.approx(2 / 3)
    assert 3 < best.best_threshold < 4


def test_memory_is_bounded_by_the_scores_held_at_a_time():
    parts = [np.sort(np.random.default_rng(i).random(20_000, dtype=np.float32)) for i in range(10)]

    def peak(max_scores):
        tracemalloc.start()
        rank_sorted(parts[:3], parts[3:], max_scores=max_scores)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    assert peak(10_000) < peak(1_000_000) / 5


def test_nan_scores_are_refused():
    with pytest.raises(ValueError, match="NaN"):
        rank(np.array([True, True, True, False]), np.array([np.nan, 2.0, 3.0, 1.0]))


def test_above_is_strict_also_between_float32_values():
    scores = np.array([1, 2, 2, 3], dtype=np.float32)
    assert [above(scores, t) for t in (0.5, 2, 2.00000001, 3)] == [4, 1, 1, 0]
    assert above(scores, np.float64(1.99999999)) == 3


@pytest.mark.parametrize("kind", [float, np.float64, np.float32])
def test_above_counts_what_numpy_marks(kind):
    """Also where a threshold is no float32 value: numpy rounds a Python float to the scores' type, no float64."""
    scores = np.sort(np.round(np.random.default_rng(0).random(500), 1)).astype(np.float32)
    for threshold in map(kind, np.arange(0, 1.05, 0.05)):
        assert above(scores, threshold) == np.count_nonzero(scores > threshold)


def test_the_bootstrap_resamples_subjects_not_voxels():
    """With two subjects the means can be only a, b or their middle, so that 95 % of them reach from a to b."""
    drawn = np.array([0.2, 0.6])[resampled_subjects(2, 0)]
    assert drawn.shape == (2000, 2)
    assert set(np.round(drawn.mean(axis=1), 6)) == {0.2, 0.4, 0.6}
    assert mean_interval([0.2, 0.6]) == Interval(mean=0.4, low=0.2, high=0.6, subjects=2)


def test_an_interval_is_that_of_its_seed_and_leaves_out_who_has_no_value():
    values = list(np.random.default_rng(0).random(12))
    assert mean_interval(values) == mean_interval(values, seed=0)
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


def test_rates_of_bins_by_hand():
    """Lesion voxels 1 0 1, others 0 2 1, highest bin first: tp 1 1 2, fp 0 2 3."""
    rates = curve(np.array([1, 0, 1]), np.array([0, 2, 1]))
    np.testing.assert_allclose(rates["tpr"], [1 / 2, 1 / 2, 1])
    np.testing.assert_allclose(rates["fpr"], [0, 2 / 3, 1])
    np.testing.assert_allclose(rates["precision"], [1, 1 / 3, 2 / 5])
    np.testing.assert_allclose(rates["dice"], [2 / 3, 2 / 5, 4 / 7])


def test_rates_that_are_undefined_are_nan():
    rates = curve(np.array([0, 0]), np.array([0, 2]))
    assert np.isnan(rates["tpr"]).all()
    assert np.isnan(rates["precision"]).tolist() == [True, False]


def test_edges_cut_each_class_evenly():
    low, high = (np.sort(np.random.default_rng(i).gamma(2, size=4000) + 100 * i) for i in range(2))
    edges = quantile_edges([low[::2], low[1::2]], [high], 16)
    assert np.all(np.diff(edges) > 0)
    assert len(edges) <= 16
    for scores in (low, high):
        own = edges[(edges >= scores[0]) & (edges <= scores[-1])]
        between = np.diff(np.searchsorted(scores, own))
        assert len(own) == 8
        assert between == pytest.approx(len(scores) / 7, rel=0.05)


def test_few_scores_are_all_edges_and_a_class_without_any_adds_none():
    scores = np.array([3, 5, 8], dtype=np.float32)
    for none in ([], [scores[:0]]):
        assert quantile_edges(none, [scores], 6).tolist() == quantile_edges([scores], none, 6).tolist() == [3, 5, 8]


def test_pooled_intervals_are_those_of_ranking_the_drawn_subjects_together():
    """Every score has a bin of its own; the third subject has the highest, the fourth has no lesion."""
    parts = [draws(seed, n=40, levels=6) for seed in range(4)]
    parts[2][1][:5] += 30
    parts[3][0][:] = False
    positives, negatives = ([np.sort(scores[labels == side]) for labels, scores in parts] for side in (True, False))
    edges = np.unique(np.concatenate([scores for _, scores in parts]))
    counts = binned(positives, edges), binned(negatives, edges)
    drawn = [
        rank_sorted([positives[i] for i in subjects], [negatives[i] for i in subjects])
        for subjects in resampled_subjects(4, 3)
    ]
    expected = {
        "auroc": [ranking.auroc for ranking in drawn],
        "average_precision": [ranking.average_precision for ranking in drawn],
        "oracle_dice": [ranking.best_dice for ranking in drawn],
    }
    for name, interval in pooled_intervals(*counts, seed=3).items():
        known = [value for value in expected[name] if value is not None]
        assert interval == pytest.approx(tuple(np.percentile(known, (2.5, 97.5))), abs=1e-9), name
    assert pooled_intervals(*counts) == pooled_intervals(*counts, seed=0)


def test_two_subjects_have_a_pooled_interval_that_never_passes_1():
    scores = np.linspace(0, 1, 200)
    edges = scores[:-1] + 1e-6
    positives, negatives = [scores[100:150], scores[150:]], [scores[:50], scores[50:100]]
    intervals = pooled_intervals(binned(positives, edges), binned(negatives, edges))
    for low, high in intervals.values():
        assert 1 - 1e-9 < low <= high <= 1


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
