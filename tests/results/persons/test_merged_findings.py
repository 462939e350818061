"""Findings of several contrasts become findings of the person."""

import numpy as np
import pytest

from vae_loc.results.persons.merged_findings import Seen, merged, person_map

SHAPE = (12, 5, 5)


def seen(contrast, start, stop, *, rate=0.01, number=1, strength=9.0):
    """A finding that holds the slices from `start` to `stop`."""
    inside = np.zeros(SHAPE, dtype=bool)
    inside[start:stop] = True
    return Seen(contrast, number, strength, rate, inside)


EVERYWHERE = np.full(SHAPE, 2, dtype=np.float32)


def test_findings_that_share_a_voxel_are_one_and_others_stay_apart():
    found = merged([seen("t1", 0, 3), seen("t2", 2, 5, rate=1e-4), seen("flair", 5, 8)], EVERYWHERE, 3)
    assert [[one.contrast for one in of.seen] for of in found] == [["t2", "t1"], ["flair"]]
    assert [int(of.inside.sum()) // 25 for of in found] == [5, 3]


def test_a_third_finding_joins_two_that_do_not_touch():
    found = merged([seen("t1", 0, 2), seen("t1", 4, 6, number=2), seen("t2", 1, 5)], EVERYWHERE, 2)
    assert len(found) == 1
    assert len(found[0].seen) == 3


def test_the_rarest_contrast_times_their_number_bounds_the_false_findings():
    (found,) = merged([seen("t1", 0, 3, rate=0.03), seen("t2", 1, 3, rate=0.002)], EVERYWHERE, 3)
    assert found.false_findings == pytest.approx(0.006)


def test_the_voxels_are_those_where_all_maps_together_are_beyond_their_extent():
    heat = EVERYWHERE.copy()
    heat[0] = 0.9
    (found,) = merged([seen("t1", 0, 3), seen("t2", 2, 5)], heat, 2)
    assert not found.inside[0].any()
    assert found.inside[1:5].all()
    assert not found.inside[5:].any()
    (weak,) = merged([seen("t1", 0, 3)], EVERYWHERE / 4, 2)
    assert weak.inside[:3].all()  # a finding is never lost for the others' sake


def test_a_finding_beyond_the_field_of_view_of_the_first_scan_is_left_out():
    assert merged([seen("t2", 3, 3)], EVERYWHERE, 2) == []


def test_of_findings_too_rare_for_a_float_the_stronger_comes_first():
    found = merged([seen("t1", 0, 2, rate=0.0), seen("t2", 5, 7, rate=0.0, strength=90.0)], EVERYWHERE, 2)
    assert [of.seen[0].contrast for of in found] == ["t2", "t1"]


def test_the_person_map_is_1_where_all_contrasts_are_at_their_extents():
    maps = [np.full(SHAPE, extent, dtype=np.float32) for extent in (2.5, 2.7, 3.0)]
    assert person_map(maps, [2.5, 2.7, 3.0]) == pytest.approx(1.0)
    assert person_map(maps[:1] * 2, [2.5, 2.5]) == pytest.approx(1.0)


@pytest.mark.parametrize("dependence", ["one map", "three maps"])
def test_people_have_no_more_false_findings_than_asked_for_however_the_contrasts_depend(dependence):
    """2000 healthy people, 0.1 allowed: at most 0.1 in truth, and three standard errors."""
    rng = np.random.default_rng(0)
    people = 2000
    rates = (
        rng.uniform(size=(people, 3)) if dependence == "three maps" else np.repeat(rng.uniform(size=(people, 1)), 3, 1)
    )
    counts = []
    for person in rates:  # each healthy scan has one candidate; its rate is uniform
        parts = [
            seen(c, 4 * i, 4 * i + 2, rate=r)
            for i, (c, r) in enumerate(zip("abc", person, strict=True))
            if r <= 0.1 / 3
        ]
        counts.append(len(merged(parts, EVERYWHERE, 3)))
    assert np.mean(counts) <= 0.1 + 3 * np.std(counts) / np.sqrt(people)
