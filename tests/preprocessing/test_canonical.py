"""To the canonical grid and back: at the same place."""

from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
from scipy.ndimage import binary_dilation
from support.grids import COS, GRIDS, SIN, geometry
from support.phantoms import AFFINE, SHAPE, centred, phantom, save

from vae_loc.errors import UnusableInput
from vae_loc.preprocessing.brain_mask import find_brain
from vae_loc.preprocessing.canonical import all_from_canonical, smooth_brain, to_canonical
from vae_loc.scans.volume import read_volume, write_volume


@pytest.mark.parametrize("name", GRIDS)
def test_a_planted_ball_comes_back_within_2_mm(tmp_path, name):
    matrix, shape = GRIDS[name]
    affine = centred(matrix, shape)
    ball = np.array([25.0, -18.0, 12.0])
    path = save(tmp_path / "a_t1.nii.gz", phantom(affine, shape, ball=ball, gain=4)[0], affine)
    volume = read_volume(path)
    brain, _ = find_brain(volume, "auto")
    canonical = to_canonical(smooth_brain(volume, brain))
    bright = np.where(canonical.data > 4, canonical.data, 0)
    (back,) = all_from_canonical([bright], canonical, volume.affine, brain)
    found = np.argwhere(back > 2)
    centroid = (found @ affine[:3, :3].T + affine[:3, 3]).mean(axis=0)
    assert np.linalg.norm(centroid - ball) < 2


@pytest.mark.parametrize("spacing", [0.7, 1.0, 2.0])
@pytest.mark.parametrize("codes", [(1, 1), (4, 0), (2, 3)])
def test_a_map_of_a_fine_scan_is_written_on_the_scan_s_own_grid(tmp_path, spacing, codes):
    """Shape, affine, sform, qform and both codes; the grid is turned, so that sform and qform are not trivial."""
    turned = np.array([[COS, -SIN, 0], [SIN, COS, 0], [0, 0, 1]])
    shape = (int(160 / spacing), int(180 / spacing), 42)
    affine = centred(turned @ np.diag([spacing, spacing, 3.0]), shape)
    path = save(tmp_path / "a_t1.nii", phantom(affine, shape)[0], affine, sform=codes[0], qform=codes[1])
    volume = read_volume(path)
    brain, _ = find_brain(volume, "auto")
    canonical = to_canonical(smooth_brain(volume, brain))
    (back,) = all_from_canonical([canonical.data], canonical, volume.affine, brain)
    assert (back.shape, back.dtype) == (shape, np.float32)
    write_volume(tmp_path / "map.nii", back, volume)
    before, after = nib.load(path), nib.load(tmp_path / "map.nii")
    assert after.shape == before.shape == shape
    assert np.array_equal(after.affine, before.affine)
    assert geometry(after.header) == geometry(before.header)
    for found, expected in (
        (after.get_sform(coded=True), before.get_sform(coded=True)),
        (after.get_qform(coded=True), before.get_qform(coded=True)),
    ):
        assert found[1] == expected[1]
        assert np.array_equal(found[0], expected[0])
    assert np.array_equal(np.asanyarray(after.dataobj), back)


@pytest.mark.parametrize("order", ["C", "F"])
def test_a_map_comes_back_as_scipy_interpolates_it(scan_volume, order):
    from scipy.ndimage import map_coordinates

    brain = np.asarray(find_brain(scan_volume, "auto")[0], order=order)
    canonical = to_canonical(smooth_brain(scan_volume, brain))
    turned = np.array([[COS, -SIN, 0.05, 4], [SIN, COS, 0, -20], [0, 0.1, 1, 40], [0, 0, 0, 1]])  # partly out of view
    canonical = replace(canonical, grid=replace(canonical.grid, affine=turned @ canonical.grid.affine))
    values = np.asarray(np.random.default_rng(0).random(canonical.data.shape, dtype=np.float32), order=order)
    (found,) = all_from_canonical([values], canonical, scan_volume.affine, brain)
    to_pixel = np.linalg.inv(canonical.grid.affine) @ scan_volume.affine
    pixels = to_pixel[:3, :3] @ np.stack(np.nonzero(brain)) + to_pixel[:3, 3:]
    weight = canonical.mask.astype(np.float32)
    near, summed = (
        map_coordinates(array, pixels, order=1, mode="grid-constant") for array in (weight, values * weight)
    )
    assert (near == 0).any()
    assert (near == 1).any()
    expected = np.where(near > 1e-3, summed / np.maximum(near, 1e-3), 0)
    np.testing.assert_allclose(found[brain], expected, atol=1e-5)
    assert not found[~brain].any()


def test_when_alignment_fails_the_pose_is_kept_with_a_warning(scan_volume):
    """Nothing can be aligned to an empty template."""
    brain = scan_volume.data > 0
    kept = to_canonical(smooth_brain(scan_volume, brain), template=np.zeros((64, 64, 64), np.float32))
    assert np.array_equal(kept.data, to_canonical(smooth_brain(scan_volume, brain)).data)
    assert "could not be aligned" in kept.warnings[0]


def test_a_wide_mask_is_tightened_where_fluid_is_dark(tmp_path):
    """A rim of 4 mm of fluid: a sixth of the mask."""
    data, inside = phantom(AFFINE, SHAPE)
    wide = binary_dilation(inside)
    volume = read_volume(save(tmp_path / "w_t1.nii.gz", np.where(inside, data, np.where(wide, 20, 0)), AFFINE))
    tight, wide_kept = (
        to_canonical(smooth_brain(volume, wide), contrast=contrast).mask.sum() for contrast in ("t1", "t2")
    )
    expected = to_canonical(smooth_brain(volume, inside)).mask.sum()
    assert tight == pytest.approx(expected, rel=0.03)
    assert wide_kept > 1.1 * expected


def test_a_mask_that_fills_no_pixel_is_refused(tmp_path):
    """A plate of one voxel: no canonical pixel is brain, and nothing can be scaled by it."""
    affine = centred(np.diag([2.0, 2.0, 1.0]), (80, 80, 60))
    data = np.random.default_rng(0).normal(100, 20, (80, 80, 60))
    plate = np.zeros(data.shape, dtype=bool)
    plate[10:70, 10:70, 40] = True
    volume = read_volume(save(tmp_path / "a_t1.nii.gz", data, affine))
    with pytest.raises(UnusableInput, match=r"a_t1\.nii\.gz: expected a brain, the mask is a few millimetres thin"):
        smooth_brain(volume, plate)
