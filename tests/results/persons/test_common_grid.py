"""From the grid of one scan of a person to that of another."""

import nibabel as nib
import numpy as np
import pytest
from support.phantoms import AFFINE, SHAPE, centred, phantom, save

from vae_loc.results.persons.common_grid import MAX_OFF_MM, first2other_mm, on_grid_of, read_output

COARSE_SHAPE = (48, 50, 20)
COARSE = centred(np.diag([-3.5, 4.0, 7.0]), COARSE_SHAPE)  # flipped, thick slices


@pytest.fixture
def first(tmp_path):
    return read_output(save(tmp_path / "first.nii.gz", phantom(AFFINE, SHAPE)[0], AFFINE))


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
    brain = phantom(AFFINE, SHAPE)[1]
    inner = brain & (phantom(AFFINE * [[0.8], [0.8], [0.8], [1]], SHAPE)[1])
    assert here.shape == SHAPE
    assert np.median(np.abs(here - first.data)[inner]) < 1


def test_a_moved_scan_is_brought_back(first):
    shift = moved(16, -8, 4)  # whole voxels
    other = shift @ AFFINE
    back = on_grid_of(first, first.data, other, shift)
    assert np.allclose(back, first.data, atol=1e-3)
    assert on_grid_of(first, first.data, AFFINE, np.eye(4)) is first.data


def test_a_map_of_one_value_can_be_read(tmp_path):
    nib.save(nib.Nifti1Image(np.zeros(SHAPE, dtype=np.uint8), AFFINE), tmp_path / "empty.nii.gz")
    assert not read_output(tmp_path / "empty.nii.gz").data.any()
