"""Lesions are found or missed; specks are none, but stay annotated."""

from dataclasses import replace

import numpy as np
import pytest
from support.scans import opened

from vae_loc.evaluation.lesions import (
    CLASS_NAMES,
    FINDING_RATES,
    Findings,
    are_found,
    by_size,
    count_findings,
    find_lesions,
    findings_of,
    overlap,
    scan_findings,
)
from vae_loc.model.network import Model
from vae_loc.scoring.locate import locate
from vae_loc.scoring.score_options import ScoreOptions, Segmentation
from vae_loc.scoring.segmentation import segment
from vae_loc.vocabulary import METHODS

VOXEL_MM3 = 8.0


@pytest.fixture
def truth():
    """Two lesions, of 64 voxels (0.5 ml) and of 216 (1.7 ml), and a speck of 8 voxels (64 mm^3)."""
    truth = np.zeros((30, 30, 30), dtype=bool)
    truth[2:6, 2:6, 2:6] = True
    truth[10:16, 10:16, 10:16] = True
    truth[25:27, 25:27, 25:27] = True
    return truth


def lesions_of(truth):
    return find_lesions(truth, np.ones_like(truth), VOXEL_MM3)


def numbered(*boxes):
    """A mask of findings, one for each box (i, j, k), numbered from 1."""
    numbers = np.zeros((30, 30, 30), dtype=np.uint8)
    for number, box in enumerate(boxes, start=1):
        numbers[tuple(slice(*span) for span in box)] = number
    return numbers


def test_a_speck_is_no_lesion_but_stays_annotated(truth):
    lesions = lesions_of(truth)
    assert lesions.sizes.tolist() == [64, 216]
    assert lesions.specks == 1
    assert lesions.annotated.sum() == truth.sum()
    assert set(np.unique(lesions.labels[truth])) == {0, 1, 2}
    assert by_size(lesions) == dict(zip(CLASS_NAMES, (1, 1, 0), strict=True))


@pytest.mark.parametrize(("voxels", "count"), [(12, 0), (13, 1)])
def test_the_smallest_lesion_has_100_mm3(voxels, count):
    truth = np.zeros((20, 8, 8), dtype=bool)
    truth[1 : 1 + voxels, 2, 2] = True
    assert len(lesions_of(truth).sizes) == count
    (exact,) = find_lesions(truth, np.ones_like(truth), 100 / voxels).sizes
    assert exact == voxels


def test_parts_that_touch_by_a_corner_are_one_lesion():
    truth = np.zeros((20, 20, 20), dtype=bool)
    truth[2:4, 2:4, 2:4] = truth[4:6, 4:6, 4:6] = True
    assert lesions_of(truth).sizes.tolist() == [16]


def test_a_lesion_outside_the_brain_counts(truth):
    brain = np.zeros_like(truth)
    brain[:8] = True
    assert find_lesions(truth, brain, VOXEL_MM3).sizes.tolist() == [64, 216]


def test_findings_and_lesions_share_voxels(truth):
    corner, none, speck = ((4, 8), (2, 6), (2, 6)), ((18, 22), (18, 22), (18, 22)), ((26, 28), (25, 27), (25, 27))
    meeting = overlap(numbered(corner, none, speck), 3, lesions_of(truth))
    assert meeting.covered.tolist() == [[32, 0, 0], [0, 0, 0]]
    assert meeting.annotated.tolist() == [32, 0, 4]
    assert meeting.sizes.tolist() == [64, 64, 8]


def test_a_lesion_is_found_by_a_tenth_that_its_findings_cover_together(truth):
    """Four and three of its 64 voxels: each less than a tenth, together more."""
    lesions = lesions_of(truth)
    meeting = overlap(numbered(((2, 6), (2, 3), (2, 3)), ((2, 5), (5, 6), (5, 6))), 2, lesions)
    for kept, found in ((np.array([True, False]), False), (np.array([False, True]), False), (np.ones(2, bool), True)):
        assert are_found(meeting, kept, lesions).tolist() == [found, False]
        assert sum(by_size(lesions, are_found(meeting, kept, lesions)).values()) == found


@pytest.mark.parametrize(("voxels", "found"), [(9, False), (10, True)])
def test_exactly_a_tenth_of_a_lesion_is_enough(voxels, found):
    truth = np.zeros((30, 30, 30), dtype=bool)
    truth[5:10, 5:10, 5:9] = True  # 100 voxels
    numbers = np.zeros((30, 30, 30), dtype=np.uint8)
    numbers.reshape(-1)[np.flatnonzero(truth)[:voxels]] = 1
    lesions = lesions_of(truth)
    assert are_found(overlap(numbers, 1, lesions), np.ones(1, bool), lesions).tolist() == [found]


@pytest.mark.parametrize(("voxel_mm3", "size"), [(0.99, 0), (1.0, 1), (9.99, 1), (10.0, 2)])
def test_a_lesion_of_1_or_10_ml_is_of_the_larger_class(voxel_mm3, size):
    truth = np.zeros((30, 30, 30), dtype=bool)
    truth[5:15, 5:15, 5:15] = True
    sizes = by_size(find_lesions(truth, np.ones_like(truth), voxel_mm3))
    assert sizes == {name: int(place == size) for place, name in enumerate(CLASS_NAMES)}


def test_a_scan_without_findings_or_without_lesions_has_no_overlap(truth):
    assert overlap(numbered(), 0, lesions_of(truth)).covered.shape == (2, 0)
    healthy = overlap(numbered(((4, 8), (2, 6), (2, 6))), 1, lesions_of(np.zeros_like(truth)))
    assert healthy.covered.shape == (0, 1)
    assert (healthy.annotated.tolist(), healthy.sizes.tolist()) == ([0], [64])


SHAPE = (30, 30, 30)
BRAIN = np.ones(SHAPE, dtype=bool)
MIN_STRENGTHS = {0.1: 9.0, 0.5: 5.0, 2.0: 1.0}


def cube(start, side):
    mask = np.zeros(SHAPE, dtype=bool)
    mask[(slice(start, start + side),) * 3] = True
    return mask


LESION, SPECK, ELSEWHERE = cube(2, 6), cube(15, 2), cube(20, 4)  # of voxels of 8 mm^3: 216, 8 and 64


def met(*findings, truth=LESION | SPECK, brain=BRAIN, min_strengths=None):
    """How findings, pairs of mask and strength from the strongest on, meet an annotation."""
    numbers = np.zeros(SHAPE, dtype=np.uint8)
    for number, (mask, _) in enumerate(findings, start=1):
        numbers[mask] = number
    made = Findings(numbers, tuple(strength for _, strength in findings), min_strengths or MIN_STRENGTHS)
    return scan_findings(made, truth, brain, find_lesions(truth, brain, 8.0), "p")


def test_each_rate_keeps_what_is_strong_enough_for_it():
    of = met((ELSEWHERE, 12.0), (LESION, 6.0), (SPECK, 5.0), (cube(26, 3), 2.0))
    assert {rate: (r.true, r.false, sum(r.found.values())) for rate, r in of.rates.items()} == {
        0.1: (0, 1, 0),
        0.5: (1, 1, 1),
        2.0: (1, 2, 1),
    }


@pytest.mark.parametrize(("annotated", "on"), [(0, False), (9, False), (10, True), (100, True)])
def test_a_finding_is_on_a_lesion_from_a_tenth_of_its_voxels_on_and_else_false(annotated, on):
    numbers = np.zeros(SHAPE, dtype=np.uint8)
    numbers[0:5, 0:5, 0:4] = 1  # 100 voxels
    truth = cube(20, 6)
    truth.reshape(-1)[np.flatnonzero(numbers)[:annotated]] = True
    made = Findings(numbers, (9.5,), MIN_STRENGTHS)
    of = scan_findings(made, truth, BRAIN, find_lesions(truth, BRAIN, 100.0), "p")
    assert [(r.true, r.false) for r in of.rates.values()] == [(on, not on)] * 3
    assert of.rank == (1 if on else None)


def test_a_lesion_is_found_by_findings_on_lesions_alone():
    """A finding that holds the lesion and eleven times as much around it finds nothing."""
    wide = cube(0, 14)
    assert (LESION & wide).sum() == 216 < 0.1 * wide.sum()
    of = met((wide, 10.0))
    assert [(r.true, r.false, sum(r.found.values())) for r in of.rates.values()] == [(0, 1, 0)] * 3


def test_a_finding_on_a_speck_is_neither_false_nor_a_lesion_found():
    of = met((cube(16, 2), 10.0))
    assert (SPECK & cube(16, 2)).sum() == 1
    assert [(r.true, r.false, sum(r.found.values())) for r in of.rates.values()] == [(0, 0, 0)] * 3
    assert of.rank is None
    assert sum(of.lesions.values()) == 1


def test_the_rank_is_the_place_of_the_first_finding_on_a_lesion():
    touching = cube(7, 2)
    assert (LESION & touching).sum() == 1
    assert met((ELSEWHERE, 3.0), (SPECK, 2.5), (touching, 2.0)).rank == 3
    assert met((touching, 3.0), (ELSEWHERE, 2.0)).rank == 1
    assert met((ELSEWHERE, 3.0)).rank is None
    assert met((cube(7, 3), 3.0)).rank is None  # a voxel of 27 is less than a tenth
    assert met().rank is None


def test_dice_is_that_of_the_marked_voxels_inside_the_brain():
    brain = BRAIN.copy()
    brain[:5] = False  # half of the lesion
    half = LESION & brain
    of = met((half, 6.0), (ELSEWHERE, 3.0), truth=LESION, brain=brain)
    assert [r.dice for r in of.rates.values()] == [0.0, 1.0, pytest.approx(2 * 108 / (108 + 108 + 64))]


def test_without_an_annotation_in_the_brain_dice_is_undefined_and_every_finding_false():
    of = met((ELSEWHERE, 6.0), truth=np.zeros(SHAPE, bool))
    assert [(r.dice, r.false) for r in of.rates.values()] == [(None, 0), (None, 1), (None, 1)]
    assert of.rank is None
    assert sum(of.lesions.values()) == 0


@pytest.fixture(scope="module")
def patient(patients, trained):
    """One patient, scored."""
    return locate(opened(patients / "p1_t1.nii.gz"), trained, ScoreOptions(methods=METHODS, force=True))


def test_one_segmentation_gives_the_findings_of_each_rate(patient, trained):
    for method, made in findings_of(patient, trained).items():
        counts = count_findings(made)
        assert tuple(counts) == FINDING_RATES
        assert list(counts.values()) == sorted(counts.values())
        for rate in FINDING_RATES:
            alone = segment(patient, trained, method, Segmentation(false_findings=rate))
            assert [f.strength for f in alone.findings] == list(np.array(made.strengths)[made.kept(rate)])


def without_healthy_findings(model):
    healthy = model.facts.healthy.model_copy(update={"findings": {}})
    facts = model.facts.model_copy(update={"healthy": healthy})
    return Model(replace(model.checkpoint, facts=facts), model.score_terms)


def test_a_model_without_healthy_findings_gives_none(patient, trained):
    assert set(findings_of(patient, trained)) == set(METHODS)
    assert findings_of(patient, without_healthy_findings(trained)) == {}
