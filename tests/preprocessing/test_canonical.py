"""What goes in comes out on the same grid, at the same place."""

import itertools
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
from conftest import centred, phantom, save

from vae_loc.preprocessing.brain_mask import find_brain
from vae_loc.preprocessing.canonical import from_canonical, to_canonical
from vae_loc.scans.volume import read_volume, write_volume
from vae_loc.scoring.locate import locate

COS, SIN = np.cos(0.3), np.sin(0.3)
OBLIQUE = np.array([[COS, -SIN, 0], [SIN, COS, 0], [0, 0, 1]]) @ np.diag([3, 3, 4])
GRIDS = {
    "RAS": (np.diag([3, 3, 3]), (52, 60, 48)),
    "LPS": (np.diag([-3, -3, 3]), (52, 60, 48)),
    "PSR": (np.array([[0, 0, 3], [-3, 0, 0], [0, 3, 0]]), (60, 48, 52)),
    "oblique": (OBLIQUE, (62, 70, 36)),
    "left-handed": (np.diag([-3, 3, 3]), (52, 60, 48)),
    "permuted": (np.array([[0, 3, 0], [0, 0, -3], [3, 0, 0]]), (48, 52, 60)),
    "anisotropic": (np.diag([2, 1.9, 5]), (77, 93, 31)),
    "odd-sizes": (np.diag([3.1, 2.9, 3.3]), (51, 61, 43)),
}


def geometry(header):
    fields = ("sform_code", "qform_code", "xyzt_units", "srow_x", "srow_y", "srow_z", "quatern_b", "quatern_c",
              "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z", "pixdim")  # fmt: skip
    return {name: header[name].tolist() for name in fields}


@pytest.mark.parametrize("name", GRIDS)
@pytest.mark.parametrize("codes", [(1, 1), (4, 0), (0, 1), (0, 0), (2, 1)])
def test_output_has_the_grid_of_the_input(tmp_path, name, codes):
    matrix, shape = GRIDS[name]
    affine = centred(matrix, shape)
    path = save(tmp_path / "a_t1.nii.gz", phantom(affine, shape)[0], affine, sform=codes[0], qform=codes[1])
    volume = read_volume(path)
    for data in (volume.data.astype(np.float32), volume.data > 0):
        write_volume(tmp_path / "out.nii.gz", data, volume)
        before, after = nib.load(path), nib.load(tmp_path / "out.nii.gz")
        assert after.shape == before.shape
        assert np.array_equal(after.affine, before.affine)
        assert geometry(after.header) == geometry(before.header)
        assert after.get_data_dtype() == (np.uint8 if data.dtype == bool else np.float32)
        assert after.dataobj.slope == 1
        assert after.dataobj.inter == 0


@pytest.mark.parametrize("spacing", [0.7, 1.0, 2.0])
def test_fine_grids_keep_shape_and_affine(tmp_path, spacing):
    shape = tuple(int(n / spacing) for n in (136, 166, 126))
    affine = centred(np.diag([spacing, spacing, 3.0]), (*shape[:2], 42))
    shape = (*shape[:2], 42)
    volume = read_volume(save(tmp_path / "a_t1.nii", phantom(affine, shape)[0], affine))
    brain, _ = find_brain(volume, "auto")
    canonical = to_canonical(volume, brain)
    back = from_canonical(canonical.data, canonical, volume, brain)
    assert back.shape == shape
    assert back.dtype == np.float32


@pytest.mark.parametrize("name", GRIDS)
def test_a_planted_ball_comes_back_within_2_mm(tmp_path, name):
    matrix, shape = GRIDS[name]
    affine = centred(matrix, shape)
    ball = np.array([25.0, -18.0, 12.0])
    path = save(tmp_path / "a_t1.nii.gz", phantom(affine, shape, ball=ball, gain=4)[0], affine)
    volume = read_volume(path)
    brain, _ = find_brain(volume, "auto")
    canonical = to_canonical(volume, brain)
    bright = np.where(canonical.data > 4, canonical.data, 0)
    back = from_canonical(bright, canonical, volume, brain)
    found = np.argwhere(back > 2)
    centroid = (found @ affine[:3, :3].T + affine[:3, 3]).mean(axis=0)
    assert np.linalg.norm(centroid - ball) < 2


def test_all_48_orientations_give_the_same_map(tmp_path, trained):
    shape = (40, 46, 36)
    affine = centred(np.diag([4.0, 4.0, 4.0]), shape)
    image = nib.load(save(tmp_path / "ref_t1.nii.gz", phantom(affine, shape, ball=(20, 10, 5))[0], affine))
    reference = locate(read_volume(tmp_path / "ref_t1.nii.gz"), *trained).maps["combi"]
    for axes in itertools.permutations(range(3)):
        for flips in itertools.product((1, -1), repeat=3):
            orientation = np.column_stack([axes, flips])
            turned = image.as_reoriented(orientation)
            nib.save(turned, tmp_path / "t_t1.nii")
            found = locate(read_volume(tmp_path / "t_t1.nii"), *trained).maps["combi"]
            expected = nib.orientations.apply_orientation(reference, orientation)
            assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.999


def test_the_map_is_zero_outside_the_brain_and_finite(scan_volume, trained):
    found = locate(scan_volume, *trained)
    assert np.isfinite(found.maps["combi"]).all()
    assert not found.maps["combi"][~found.brain].any()
    assert found.maps["combi"][found.brain].min() >= 0


@pytest.mark.parametrize("factor", [1e6, 1e-6])
def test_intensity_scale_does_not_change_the_map(tmp_path, trained, scan, factor):
    image = nib.load(scan)
    scaled = save(tmp_path / "s_t1.nii.gz", (image.get_fdata() * factor).astype(np.float32), image.affine)
    expected = locate(read_volume(scan), *trained).maps["combi"]
    found = locate(read_volume(scaled), *trained).maps["combi"]
    np.testing.assert_allclose(found, expected, rtol=1e-2, atol=1e-4 * expected.max())


def test_missing_voxels_do_not_reach_the_map(tmp_path, trained, scan):
    image = nib.load(scan)
    data = image.get_fdata().astype(np.float32)
    data[20, 20:24, 18] = np.nan
    data[22, 20, 18] = np.inf
    volume = read_volume(save(tmp_path / "n_t1.nii.gz", data, image.affine))
    found = locate(volume, *trained)
    assert np.isfinite(found.maps["combi"]).all()
    assert any("5 voxels are NaN or infinite" in warning for warning in found.warnings)


def test_sheared_affines_are_kept(tmp_path, trained):
    matrix = np.array([[3, 0.5, 0], [0, 3, 0], [0, 0, 3]])
    shape = (60, 60, 48)
    affine = centred(matrix, shape)
    path = save(tmp_path / "s_t1.nii.gz", phantom(affine, shape)[0], affine, sform=1, qform=0)
    volume = read_volume(path)
    found = locate(volume, *trained)
    write_volume(tmp_path / "o.nii.gz", found.maps["combi"], volume)
    assert np.array_equal(nib.load(tmp_path / "o.nii.gz").affine, nib.load(path).affine)


@pytest.mark.parametrize("order", ["C", "F"])
def test_a_map_comes_back_as_scipy_interpolates_it(scan_volume, order):
    from scipy.ndimage import map_coordinates

    brain = np.asarray(find_brain(scan_volume, "auto")[0], order=order)
    canonical = to_canonical(scan_volume, brain)
    turned = np.array([[COS, -SIN, 0.05, 4], [SIN, COS, 0, -20], [0, 0.1, 1, 40], [0, 0, 0, 1]])  # partly out of view
    canonical = replace(canonical, grid=replace(canonical.grid, affine=turned @ canonical.grid.affine))
    values = np.asarray(np.random.default_rng(0).random(canonical.data.shape, dtype=np.float32), order=order)
    found = from_canonical(values, canonical, scan_volume, brain)
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


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_written_voxels_do_not_depend_on_the_array_s_order(tmp_path, scan_volume, name, order):
    data = np.asarray(np.random.default_rng(0).random(scan_volume.data.shape), order=order)
    write_volume(tmp_path / name, data, scan_volume)
    np.testing.assert_array_equal(np.asanyarray(nib.load(tmp_path / name).dataobj), data.astype(np.float32))
