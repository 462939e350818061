"""Lesions are found or missed; specks are none, but stay annotated."""

import numpy as np
import pytest

from vae_loc.evaluation.lesions import CLASS_NAMES, are_found, by_size, find_lesions, overlap

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
