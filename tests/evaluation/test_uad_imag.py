"""The protocol of UAD-IMAG: Dice of subjects at oracle thresholds and at the one that healthy voxels set."""

import json

import numpy as np
import pytest

from vae_loc.evaluation.metrics import rank_sorted
from vae_loc.evaluation.uad_imag import common_oracle_dice
from vae_loc.vocabulary import METHODS


def drawn(seed, shift, n=120):
    """Ascending scores of lesion and of other voxels of a scan, of few distinct values."""
    rng = np.random.default_rng(seed)
    lesion, other = rng.normal(1 + shift, 1, n // 4), rng.normal(shift, 1, n)
    return [np.sort(np.round(side, 1)).astype(np.float32) for side in (lesion, other)]


def dice(lesion, other, threshold):
    true, false = (np.count_nonzero(side >= threshold) for side in (lesion, other))
    return 2 * true / (len(lesion) + true + false)


def test_the_common_oracle_is_the_best_threshold_for_the_mean_over_subjects():
    """Subjects of different scales; the last two scans are of one subject."""
    scans = [drawn(seed, shift) for seed, shift in enumerate((0, 1, 0.5, 2))]
    subjects = ["a", "b", "c", "c"]
    thresholds = np.unique(np.concatenate([side for scan in scans for side in scan]))
    by_scan = np.array([[dice(*scan, threshold) for threshold in thresholds] for scan in scans])
    by_subject = [by_scan[0], by_scan[1], by_scan[2:].mean(axis=0)]
    positives, negatives = zip(*scans, strict=True)
    common = common_oracle_dice(positives, negatives, subjects)
    assert common == pytest.approx(np.mean(by_subject, axis=0).max())
    own = [rank_sorted([lesion], [other]).best_dice for lesion, other in scans]
    assert common < np.mean([own[0], own[1], np.mean(own[2:])])


def test_a_subject_without_an_annotation_has_no_part_in_the_common_oracle():
    lesion, other = drawn(0, 0)
    alone = common_oracle_dice([lesion], [other], ["a"])
    assert common_oracle_dice([lesion, lesion[:0]], [other, other + 5], ["a", "b"]) == alone
    assert alone == pytest.approx(rank_sorted([lesion], [other]).best_dice)
    assert common_oracle_dice([lesion[:0]], [other], ["a"]) is None


def test_each_map_has_both_oracles_above_the_dice_at_one_percent(evaluated):
    record = json.loads((evaluated[0] / "evaluation.json").read_text())
    assert list(record["uad_imag"]) == list(METHODS)
    for name, of in record["uad_imag"].items():
        assert of["oracle_dice"] == record["pixel"][name]["per_subject"]["oracle_dice"]
        assert of["dice_at_1_percent"] == record["pixel"][name]["per_subject"]["dice_fpr 1%"]
        assert of["dice_at_1_percent"]["mean"] <= of["common_oracle_dice"] + 0.01 <= of["oracle_dice"]["mean"] + 0.02
        assert of["oracle_dice"]["subjects"] == 5


def test_each_healthy_subject_has_its_own_share_above(evaluated):
    record = json.loads((evaluated[0] / "evaluation.json").read_text())
    for name, of in record["uad_imag"].items():
        shares = of["healthy_above"]
        values = list(shares["by_subject"].values())
        assert set(shares["by_subject"]) == {f"sub{number}" for number in range(5)}
        spread = shares["minimum"], shares["median"], shares["maximum"]
        assert spread == (min(values), np.median(values), max(values))
        rates = record["healthy_calibration"]
        stated = rates["measured"][name][rates["stated"].index(0.01)]
        assert np.mean(values) == pytest.approx(stated["mean"])


def test_the_tables_say_that_oracles_know_the_annotation(evaluated):
    said = evaluated[1].stdout
    assert "The protocol of UAD-IMAG (arXiv:2512.01534)" in said
    assert "Oracles know the annotation and are no results" in said
