"""Candidates have one sign and a strength; how many a healthy scan has is counted, and beyond a few people fitted."""

import numpy as np
import pytest

from vae_loc.model.facts import SCAN_KINDS, HealthyFindings
from vae_loc.scoring.findings import (
    LIKENESS_POWER,
    as_strong,
    candidates_of,
    extent_fpr,
    false_findings,
    healthy_findings,
    strength_for,
    strength_interval,
    strength_of,
    strengths_of,
    told_by,
)


def known_of(*strengths, weights=None, kinds=None):
    count = len(strengths)
    return HealthyFindings(
        extent=2.0,
        strengths=[list(scan) for scan in strengths],
        weights=list(weights or [1.0] * count),
        kinds=list(kinds or ["real"] * count),
    )


def drawn(people, seed, *, start=3.0, mean=1.5, count=2.0):
    """The strengths of healthy people whose candidates beyond `start` are exponential, `count` a scan on average."""
    rng = np.random.default_rng(seed)
    return [sorted(start + rng.exponential(mean, rng.poisson(count)), reverse=True) for _ in range(people)]


def test_a_candidate_has_one_sign_and_its_greatest_magnitude_as_strength():
    signed = np.zeros((8, 8, 8), np.float32)
    signed[1:3, 1, 1] = 4, 5
    signed[3:5, 1, 1] = -6, -3
    signed[6, 6, 6] = 2.5
    labels, candidates = candidates_of(signed, 2.0)
    assert sorted((c.sign, c.strength) for c in candidates) == [("brighter", 2.5), ("brighter", 5.0), ("darker", 6.0)]
    for candidate in candidates:
        inside = signed[labels == candidate.label]
        assert np.abs(inside).max() == candidate.strength
        assert ((inside > 0) == (candidate.sign == "brighter")).all()
    assert strengths_of(-signed, 2.0) == strengths_of(signed, 2.0) == [6.0, 5.0, 2.5]


def test_what_is_like_a_made_lesion_is_stronger_at_the_same_values():
    signed = np.zeros((12, 12, 12), np.float32)
    signed[1:3, 1, 1] = signed[8:10, 8, 8] = 5
    likeness = np.zeros_like(signed)
    likeness[1, 1, 1], likeness[8, 8, 8] = 0.2, 2.0
    labels, candidates = candidates_of(signed, 2.0, likeness=likeness)
    strength = {labels[place]: None for place in ((1, 1, 1), (8, 8, 8))} | {c.label: c.strength for c in candidates}
    unlike, like = strength[labels[1, 1, 1]], strength[labels[8, 8, 8]]
    assert like == pytest.approx(unlike * 10**LIKENESS_POWER)
    assert like == pytest.approx(strength_of(np.float32(5), np.float32(2)))
    assert strengths_of(signed, 2.0, likeness) == [like, unlike]


def test_nothing_beyond_the_extent_is_no_candidate():
    labels, candidates = candidates_of(np.full((4, 4, 4), 2.0, np.float32), 2.0)
    assert not labels.any()
    assert candidates == []


@pytest.mark.parametrize("expected", [0.02, 0.1, 0.5])
def test_the_expected_number_holds_on_healthy_people_who_did_not_tell_it(expected):
    """67 people tell the level, 2000 others are counted; the mean of 40 such trials is within a tenth."""
    counted = []
    for seed in range(40):
        level = strength_for(healthy_findings(2.0, drawn(67, seed), None, prior_weight=0), expected)
        others = drawn(2000, 1000 + seed)
        counted.append(np.mean([sum(strength > level for strength in scan) for scan in others]))
    assert np.mean(counted) == pytest.approx(expected, rel=0.1, abs=0.005)


def test_level_and_expected_number_are_inverse():
    known = healthy_findings(2.0, drawn(67, 0), None, prior_weight=0)
    for expected in (0.02, 0.1, 0.7):
        assert false_findings(known, strength_for(known, expected)) == pytest.approx(expected, rel=1e-6)
    assert false_findings(known, 3.5) > false_findings(known, 5.0) > false_findings(known, 50.0) > 0


@pytest.mark.parametrize(
    ("kinds", "scans"),
    [
        ({"real": 67}, 67),
        ({"real": 5, "simulated": 67}, 5),
        ({"ordinary": 9, "simulated": 67}, 9),
        ({"simulated": 67}, 67),
    ],
)
def test_nothing_is_said_to_be_rarer_than_one_in_the_real_and_ordinary_scans(kinds, scans):
    listed = [kind for kind, count in kinds.items() for _ in range(count)]
    known = known_of(*drawn(len(listed), 0), kinds=listed)
    assert told_by(known) == scans
    assert false_findings(known, 1e6) == 1 / scans
    assert all(false_findings(known, strength) >= 1 / scans for strength in np.linspace(2, 30, 57))


def test_more_findings_than_healthy_people_have_are_all_candidates():
    assert strength_for(known_of([3.0], [4.0]), 5.0) == 2.0


def test_people_without_a_candidate_count():
    some, fewer = (strength_for(known_of(*drawn(30, 0), *[[]] * empty), 0.1) for empty in (0, 60))
    assert fewer < some


def test_healthy_people_without_any_candidate_have_no_finding_above_the_extent():
    known = known_of([], [], [])
    assert strength_for(known, 0.1) == 2.0
    assert as_strong(known, 2.5, "real") == (0, 3)
    assert false_findings(known, 2.5) == pytest.approx(1 / 3)


def test_how_many_people_have_one_as_strong_is_counted_by_person():
    known = known_of([9.0, 8.0, 7.0], [5.0], [])
    assert as_strong(known, 6.0, "real") == (1, 3)
    assert as_strong(known, 5.0, "real") == (2, 3)


def test_scans_of_different_kinds_are_never_counted_together():
    known = known_of([9.0], [8.0], [5.0], [9.5], kinds=["real", "simulated", "simulated", "ordinary"])
    assert [as_strong(known, 7.0, kind) for kind in SCAN_KINDS] == [(1, 1), (1, 2), (1, 1)]
    assert as_strong(known_of([9.0]), 7.0, "ordinary") == as_strong(None, 7.0, "real") == (None, None)


def test_what_was_known_elsewhere_stands_for_a_few_people_of_the_site():
    elsewhere = healthy_findings(2.0, drawn(60, 0, mean=1.0), None, prior_weight=0)
    site = drawn(20, 1, mean=4.0)
    both = healthy_findings(2.0, site, elsewhere, prior_weight=10)
    assert sum(both.weights) == pytest.approx(30)
    alone = healthy_findings(2.0, site, None, prior_weight=0)
    levels = [strength_for(known, 0.1) for known in (elsewhere, both, alone)]
    assert levels == sorted(levels)


def test_few_people_known_elsewhere_count_no_more_than_they_are():
    """Two people with a weight of 1 each cannot stand for ten scans of the site."""
    blended = healthy_findings(2.0, [[4.0]], known_of([3.0], [5.0]), prior_weight=10)
    assert blended.weights == [1.0, 1.0, 1.0]


def test_new_scans_have_their_kind_and_known_ones_keep_theirs():
    known = known_of([3.0], [5.0], kinds=["simulated", "real"])
    blended = healthy_findings(2.0, [[4.0]], known, prior_weight=10, kind="ordinary")
    assert blended.kinds == ["ordinary", "simulated", "real"]


@pytest.mark.parametrize(("contrast", "share"), [("t1", 0.02), ("t2", 0.02), ("flair", 0.005), ("pd", 0.02)])
def test_findings_reach_as_far_as_so_many_healthy_voxels(contrast, share):
    assert extent_fpr(contrast) == share


def test_simulated_scans_set_no_strength_where_five_others_do():
    real, simulated = [[9.0], [8.0], [7.0], [6.0], [5.0]], [[3.0]] * 60

    def both(count):
        kinds = ["real"] * count + ["simulated"] * 60
        strengths = [*real[:count], *simulated]
        return HealthyFindings(extent=2.0, strengths=strengths, weights=[1.0] * len(kinds), kinds=kinds)

    alone = HealthyFindings(extent=2.0, strengths=real, weights=[1.0] * 5, kinds=["real"] * 5)
    assert strength_for(both(5), 0.2) == strength_for(alone, 0.2)
    assert strength_for(both(4), 0.2) < strength_for(alone, 0.2)
    low, high = strength_interval(both(5), 0.2)
    assert low < strength_for(both(5), 0.2) <= high
