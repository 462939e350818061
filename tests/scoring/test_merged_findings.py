"""Findings of several contrasts come to one grid and become findings of the person."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from support.phantoms import AFFINE, centred, phantom, save
from support.phantoms import SHAPE as PHANTOM

from vae_loc.scans.volume import Volume
from vae_loc.scoring.finding_model import Finding
from vae_loc.scoring.merged_findings import (
    MAX_OFF_MM,
    Seen,
    described,
    first2other_mm,
    merged,
    on_grid_of,
    person_map,
    read_output,
    shares,
)

SHAPE = (12, 5, 5)
COARSE_SHAPE = (48, 50, 20)
COARSE = centred(np.diag([-3.5, 4.0, 7.0]), COARSE_SHAPE)  # flipped, thick slices


def seen(contrast, start, stop, *, rate=0.01, number=1, strength=9.0):
    """A finding that holds the slices from `start` to `stop`."""
    inside = np.zeros(SHAPE, dtype=bool)
    inside[start:stop] = True
    return Seen(contrast, Finding.model_construct(number=number, strength=strength), rate, inside)


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


def test_each_contrast_contributes_an_even_share_but_no_less_than_its_scans_can_tell():
    shared = shares({"t1": (0.1, 72), "t2": (0.1, 14), "flair": (1 / 9, 9)})
    assert shared == pytest.approx({"t1": 0.1 / 3, "t2": 1 / 14, "flair": 1 / 9})


def test_no_person_s_finding_is_said_to_be_rarer_than_one_in_the_scans_that_tell_it():
    """The rate of each contrast is not below 1 / its scans (`test_findings`): so is the person's, with its words."""
    grid = Volume(EVERYWHERE, np.eye(4), None, Path("a.nii"))
    row = {"number": 1, "sign": "brighter", "strength": 1e6, "side": None, "lobe": None, "region": None}
    inside = np.ones(SHAPE, dtype=bool)
    one = Seen("t1", Finding.model_construct(**row, region_share=None, other_regions=None), 1 / 72, inside)
    (found,) = merged([one], EVERYWHERE, 2)
    said = described(1, found, EVERYWHERE, grid)
    assert said.false_findings == pytest.approx(2 / 72)
    assert said.words.endswith("; at most 1 in 36 healthy people have one as strong")


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


@pytest.fixture
def first(tmp_path):
    return read_output(save(tmp_path / "first.nii.gz", phantom(AFFINE, PHANTOM)[0], AFFINE))


def moved(*millimetres):
    affine = np.eye(4)
    affine[:3, 3] = millimetres
    return affine


def test_alignments_that_agree_leave_the_scanners_coordinates(first):
    way_mm, off_mm = first2other_mm(first, np.eye(4), moved(0, 0, MAX_OFF_MM - 0.1))
    assert np.array_equal(way_mm, np.eye(4))
    assert off_mm == pytest.approx(MAX_OFF_MM - 0.1)


def test_scans_that_lie_apart_meet_in_the_mean_brain(first):
    turned = np.eye(4)
    turned[:2, :2] = [[np.cos(0.1), -np.sin(0.1)], [np.sin(0.1), np.cos(0.1)]]
    template2first, first2second = moved(3, -2, 1), turned @ moved(20, 0, -9)
    way_mm, off_mm = first2other_mm(first, template2first, first2second @ template2first)
    assert off_mm > 20
    assert way_mm == pytest.approx(first2second)


def test_an_unknown_alignment_leaves_the_scanners_coordinates(first):
    for pair in ((None, moved(50, 0, 0)), (np.eye(4), None)):
        way_mm, off_mm = first2other_mm(first, *pair)
        assert np.array_equal(way_mm, np.eye(4))
        assert off_mm is None


def test_a_map_of_other_voxels_lies_where_it_lay(first):
    there, _ = phantom(COARSE, COARSE_SHAPE)
    here = on_grid_of(first, there, COARSE, np.eye(4))
    brain = phantom(AFFINE, PHANTOM)[1]
    inner = brain & (phantom(AFFINE * [[0.8], [0.8], [0.8], [1]], PHANTOM)[1])
    assert here.shape == PHANTOM
    assert np.median(np.abs(here - first.data)[inner]) < 1


def test_a_moved_scan_is_brought_back(first):
    shift = moved(16, -8, 4)  # whole voxels
    other = shift @ AFFINE
    back = on_grid_of(first, first.data, other, shift)
    assert np.allclose(back, first.data, atol=1e-3)
    assert on_grid_of(first, first.data, AFFINE, np.eye(4)) is first.data


def test_a_map_of_one_value_can_be_read(tmp_path):
    nib.save(nib.Nifti1Image(np.zeros(PHANTOM, dtype=np.uint8), AFFINE), tmp_path / "empty.nii.gz")
    assert not read_output(tmp_path / "empty.nii.gz").data.any()
