"""The figures of a cohort."""

import json

import pytest

from vae_loc.evaluation.cohort_metrics import beaten_by
from vae_loc.evaluation.lesions import CLASS_NAMES
from vae_loc.evaluation.record import Interval, MapFigures, PooledFigures
from vae_loc.evaluation.scan_metrics import FROC_FPRS
from vae_loc.vocabulary import METHODS


@pytest.fixture(scope="module")
def summary(evaluated):
    return json.loads((evaluated[0] / "evaluation.json").read_text())


def test_slices_are_counted_once_and_each_score_tells_them_apart(summary):
    slices = summary["slices"]
    assert set(slices) == {"diseased", "healthy", "scores"}
    assert slices["diseased"] > 0
    assert slices["healthy"] > 0
    assert set(slices["scores"]) == {"rec", "kl", "elbo", "brain area"}
    assert slices["scores"]["rec"]["auroc"] > 0.6
    for figures in slices["scores"].values():
        low, high = figures["interval"]
        assert 0 <= low <= high <= 1 + 1e-9


def test_every_map_has_a_froc_whose_false_positives_fall_with_the_rate(summary):
    assert set(summary["lesions"]) == set(METHODS)
    for points in summary["lesions"].values():
        assert [point["healthy_fpr"] for point in points] == list(FROC_FPRS)
        for point in points:
            assert set(point["lesions"]) == set(point["found"]) == set(CLASS_NAMES)
            assert sum(point["lesions"].values()) == 5
            assert point["sensitivity"] == sum(point["found"].values()) / 5
        assert points[0]["false_positives_per_scan"] <= points[-1]["false_positives_per_scan"]


def figures(auroc, average_precision):
    pooled = PooledFigures(auroc=None, average_precision=None, oracle_dice=None, positives=0, negatives=0, intervals={})
    means = {"auroc": auroc, "average_precision": average_precision}
    per_subject = {name: Interval(mean=mean, low=None, high=None, subjects=1) for name, mean in means.items()}
    return MapFigures(per_subject=per_subject, paper_protocol=pooled)


def test_a_baseline_that_is_not_worse_than_the_best_map_is_named():
    found = beaten_by(
        {
            "intensity": figures(0.8, 0.2),
            "negative-intensity": figures(0.9, None),
            "rec-error": figures(0.8, 0.1),
            "combi": figures(0.7, 0.3),
        }
    )
    assert found == {"auroc": ["intensity", "negative-intensity"], "average_precision": []}
