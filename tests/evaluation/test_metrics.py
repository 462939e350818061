"""Figures are those of scikit-learn, torchmetrics, brute force and the hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from vae_loc.evaluation.cohort_metrics import metrics
from vae_loc.evaluation.metrics import above, dice_at, mean_interval, rank, rank_sorted


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
    assert mean_interval([None, None])["mean"] is None


def test_nan_scores_are_refused():
    with pytest.raises(ValueError, match="NaN"):
        rank(np.array([True, False]), np.array([np.nan, 1.0]))


def test_above_is_strict_also_between_float32_values():
    scores = np.array([1, 2, 2, 3], dtype=np.float32)
    assert [above(scores, t) for t in (0.5, 2, 2.00000001, 3)] == [4, 1, 1, 0]


def test_the_bootstrap_resamples_subjects_not_voxels(monkeypatch):
    """With two subjects the means can be only a, b or their middle."""
    seen = {}
    monkeypatch.setattr(metrics.np, "percentile", lambda means, _: seen.update(means=means) or (0, 1))
    mean_interval([0.2, 0.6])
    assert set(np.round(seen["means"], 6)) == {0.2, 0.4, 0.6}
    assert len(seen["means"]) == 2000


def test_one_subject_has_no_interval():
    assert mean_interval([0.5, None]) == {"mean": 0.5, "low": None, "high": None, "subjects": 1}
