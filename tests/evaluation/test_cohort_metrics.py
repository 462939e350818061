"""The figures of a cohort."""

import json

import pytest

from vae_loc.evaluation.cohort_metrics import beaten_by, slice_table
from vae_loc.evaluation.lesions import CLASS_NAMES, FINDING_RATES
from vae_loc.evaluation.record import Interval, MapFigures, PooledFigures
from vae_loc.evaluation.scan_metrics import SliceRow
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
    for figures in slices["scores"].values():
        low, high = figures["interval"]
        assert 0 <= low <= high <= 1 + 1e-9


def test_a_score_of_slices_has_the_auroc_of_its_diseased_slices_against_the_healthy_ones():
    """Of rec, 3 is above both healthy slices and 2 above one; subject b has both kinds, a and c one."""
    kinds = [("a", True, 3.0), ("b", True, 2.0), ("b", False, 2.5), ("c", False, 1.0)]
    rows = [SliceRow(name, ill, {"rec": rec, "kl": -rec, "elbo": 0.0, "brain area": 7.0}) for name, ill, rec in kinds]
    table = slice_table(rows, seed=0)
    assert (table.diseased, table.healthy) == (2, 2)
    assert [table.scores[name].auroc for name in ("rec", "kl", "elbo", "brain area")] == [0.75, 0.25, 0.5, 0.5]
    empty = slice_table([], seed=0).scores["rec"]
    assert (empty.auroc, empty.reason) == (None, "no slice is healthy or diseased for certain")


def test_every_map_has_findings_at_each_rate_and_more_at_a_greater_one(summary):
    assert set(summary["findings"]) == set(METHODS)
    for table in summary["findings"].values():
        points = table["points"]
        assert [point["rate"] for point in points] == list(FINDING_RATES)
        for point in points:
            assert set(point["lesions"]) == set(point["lesions_found"]) == set(CLASS_NAMES)
            assert sum(point["lesions"].values()) == 5
            assert point["sensitivity"] == sum(point["lesions_found"].values()) / 5
            assert point["patients_found"]["subjects"] == 5  # the sixth has no lesion
            assert point["false_per_patient"]["subjects"] == 6
            assert point["healthy_findings"]["subjects"] == 5
            assert point["healthy_with_any"]["mean"] <= point["healthy_findings"]["mean"]
        for name in ("patients_found", "false_per_patient", "healthy_findings"):
            means = [point[name]["mean"] for point in points]
            assert means == sorted(means)


def test_rec_error_finds_the_balls_first(summary):
    headline = next(point for point in summary["findings"]["rec-error"]["points"] if point["rate"] == 0.1)
    assert headline["patients_found"]["mean"] == headline["strongest_is_lesion"]["mean"] == 1


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
