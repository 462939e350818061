"""What is read is what the file says; what is written lies on the grid of the scan."""

import itertools
import tempfile
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.corpus import raw_scan
from support.grids import GRIDS, geometry
from support.phantoms import AFFINE, SHAPE, centred, phantom, save

from vae_loc.errors import UnusableInput
from vae_loc.scans.volume import read_labels, read_volume, write_volume

ANGLES = st.floats(-3.2, 3.2)
DTYPES = ("u1", "i1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8")


@st.composite
def grids(draw):
    """Shapes and affines that can hold a brain: turned, mirrored, anisotropic, sheared."""
    shape = draw(st.tuples(*[st.integers(5, 12)] * 3))
    spacing = np.array(draw(st.tuples(*[st.floats(10, 19)] * 3)))
    turn = np.eye(3)
    for axis, angle in enumerate(draw(st.tuples(ANGLES, ANGLES, ANGLES))):
        a, b = [n for n in range(3) if n != axis]
        one = np.eye(3)
        one[[a, a, b, b], [a, b, a, b]] = np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle)
        turn = one @ turn
    signs = np.diag(draw(st.tuples(*[st.sampled_from([-1, 1])] * 3)))
    shear = np.eye(3) + np.triu(np.full((3, 3), draw(st.sampled_from([0.0, 0.0, 0.1]))), 1)
    affine = np.eye(4)
    affine[:3, :3] = (turn @ signs @ shear) * spacing
    affine[:3, 3] = draw(st.tuples(*[st.floats(-500, 500)] * 3))
    return shape, affine


@given(
    grid=grids(),
    codes=st.tuples(st.integers(0, 4), st.integers(0, 4)),
    dtype=st.sampled_from(DTYPES),
    order=st.sampled_from("<>"),
    version=st.sampled_from([1, 2]),
    slope=st.sampled_from([(1, 0), (0, 0), (np.nan, np.nan), (0.5, 3), (-2, 10)]),
    out=st.sampled_from(["o.nii", "o.nii.gz"]),
)
def test_what_goes_in_comes_out_on_the_same_grid(grid, codes, dtype, order, version, slope, out):
    shape, affine = grid
    stored = np.arange(np.prod(shape)).reshape(shape) % 100 + 1
    raw = raw_scan(stored.astype(dtype), order=order, version=version, affine=affine, forms=codes, slope=slope)
    with tempfile.TemporaryDirectory() as folder:
        given_path, written = Path(folder) / "i.nii", Path(folder) / out
        given_path.write_bytes(raw)
        reference = nib.load(given_path)
        volume = read_volume(given_path)
        np.testing.assert_allclose(volume.data, reference.get_fdata(), rtol=1e-6)
        assert np.array_equal(volume.affine, reference.affine)
        write_volume(written, volume.data, volume)
        result = nib.load(written)
        assert type(result) is type(reference)
        assert result.shape == shape
        assert np.array_equal(result.affine, reference.affine)
        assert geometry(result.header) == geometry(reference.header)
        assert (result.dataobj.slope, result.dataobj.inter) == (1, 0)
        assert np.array_equal(np.asarray(result.dataobj), volume.data)
        again = read_volume(written)
        assert np.array_equal(again.data, volume.data)
        assert np.array_equal(again.affine, volume.affine)
        assert given_path.read_bytes() == raw


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


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_written_voxels_do_not_depend_on_the_array_s_order(tmp_path, scan_volume, name, order):
    data = np.asarray(np.random.default_rng(0).random(scan_volume.data.shape), order=order)
    write_volume(tmp_path / name, data, scan_volume)
    np.testing.assert_array_equal(np.asanyarray(nib.load(tmp_path / name).dataobj), data.astype(np.float32))


@pytest.mark.parametrize(
    ("values", "found"),
    [([0, 0.5], "0.5"), ([0, -1], "-1"), ([0, np.nan], "NaN")],
    ids=["fractional", "negative", "nan"],
)
def test_an_odd_annotation_is_refused_by_name(tmp_path, scan_volume, values, found):
    data = np.zeros(SHAPE, dtype=np.float32)
    data[10:12] = values[1]
    path = save(tmp_path / "lesions.nii.gz", data, scan_volume.affine)
    with pytest.raises(UnusableInput, match=rf"lesions\.nii\.gz: expected .*{found}"):
        read_labels(path, scan_volume)


def test_an_annotation_on_another_grid_is_refused(tmp_path, scan_volume):
    data = np.zeros(SHAPE, dtype=np.uint8)
    shifted = scan_volume.affine.copy()
    shifted[0, 3] += 0.41  # of 4 mm: more than a tenth of a voxel
    with pytest.raises(UnusableInput, match="corners"):
        read_labels(save(tmp_path / "l.nii.gz", data, shifted), scan_volume)
    with pytest.raises(UnusableInput, match="shape"):
        read_labels(save(tmp_path / "l.nii.gz", data[1:], scan_volume.affine), scan_volume)


@pytest.mark.parametrize("moved", [False, True])
def test_an_annotation_on_the_qform_of_a_scan_is_taken_voxel_by_voxel_and_said(tmp_path, scan_volume, caplog, moved):
    qform = scan_volume.affine.copy()
    qform[:3, 3] += [3, -12, 9]
    header = scan_volume.header.copy()
    header.set_qform(qform, 1)
    header.set_sform(scan_volume.affine, 4)
    data = np.zeros(SHAPE, dtype=np.uint8)
    data[10, 11, 12] = 1
    drawn = save(tmp_path / "l.nii.gz", data, qform + (np.eye(4, k=3) if moved else 0))
    if moved:
        with pytest.raises(UnusableInput, match="corners"):
            read_labels(drawn, replace(scan_volume, header=header))
    else:
        truth, _ = read_labels(drawn, replace(scan_volume, header=header))
        assert np.array_equal(truth, data > 0)
        assert "lies on the qform of" in caplog.text


@pytest.mark.parametrize("values", [(1, 2, 4), (255,)])
def test_other_labels_than_1_are_taken_with_a_note(tmp_path, scan_volume, values):
    data = np.zeros(SHAPE, dtype=np.uint8)
    for i, value in enumerate(values):
        data[10 + i, 10, 10] = value
    truth, notes = read_labels(save(tmp_path / "l.nii.gz", data, scan_volume.affine), scan_volume)
    assert truth.sum() == len(values)
    assert "were taken as lesion" in notes[0]


def test_an_annotation_off_by_less_than_a_tenth_of_a_voxel_is_taken(tmp_path, scan_volume):
    truth = np.zeros(SHAPE, dtype=np.uint8)
    truth[10:12, 20, 9] = 1
    shifted = scan_volume.affine.copy()
    shifted[:3, 3] += (0.39, -0.027, 0.1)  # of 4 mm
    found, _ = read_labels(save(tmp_path / "l.nii.gz", truth, shifted), scan_volume)
    assert np.array_equal(found, truth > 0)


@pytest.mark.parametrize("axes", list(itertools.permutations(range(3))))
def test_an_annotation_with_other_axes_on_the_same_voxels_is_taken(tmp_path, scan_volume, axes):
    truth = np.random.default_rng(0).random(SHAPE) < 0.1
    for flips in itertools.product((1, -1), repeat=3):
        image = nib.Nifti1Image(truth.astype(np.uint8), scan_volume.affine)
        nib.save(image.as_reoriented(np.column_stack([axes, flips])), tmp_path / "l.nii.gz")
        found, _ = read_labels(tmp_path / "l.nii.gz", scan_volume)
        assert np.array_equal(found, truth)


def test_a_scan_is_not_its_own_mask(scan_volume):
    with pytest.raises(UnusableInput, match="found the scan itself"):
        read_labels(scan_volume.path, scan_volume)


def test_nan_around_a_brain_is_its_background(tmp_path):
    data, inside = phantom(AFFINE, SHAPE)
    for name, values, outside in (("zero", data, 0), ("nan", data, np.nan), ("inf", data, np.inf)):
        save(tmp_path / f"{name}.nii", np.where(inside, values, outside).astype(np.float32), AFFINE)
    expected = read_volume(tmp_path / "zero.nii")
    for name in ("nan", "inf"):
        found = read_volume(tmp_path / f"{name}.nii")
        assert found.warnings == ()
        assert np.array_equal(found.data, expected.data)
        assert np.array_equal(found.missing, ~inside)


@pytest.mark.parametrize("part", ["speck", "all but a speck"])
def test_nan_around_no_brain_is_refused(tmp_path, part):
    data = np.full((80, 90, 80), np.nan, np.float32)
    data[30:40, 30:40, 30:40] = np.random.default_rng(0).random((10, 10, 10))
    if part == "all but a speck":
        data = np.where(np.arange(80)[:, None, None] < 39, np.float32(2) + data[35, 35, 35], np.nan) + np.nan_to_num(
            data
        )
    with pytest.raises(UnusableInput, match=r"are NaN or infinite, and the other .* are no brain"):
        read_volume(save(tmp_path / "n.nii", data.astype(np.float32), centred(np.diag([3.0] * 3), data.shape)))


def test_axes_of_one_voxel_behind_the_third_are_no_fault(tmp_path):
    data = phantom(AFFINE, SHAPE)[0]
    (tmp_path / "s.nii").write_bytes(raw_scan(data[..., None, None], affine=AFFINE))
    assert np.array_equal(read_volume(tmp_path / "s.nii").data, data)


@pytest.mark.parametrize("version", [1, 2])
def test_voxels_at_byte_0_of_a_single_file_are_those_after_its_header(tmp_path, version):
    data = phantom(AFFINE, SHAPE)[0]
    (tmp_path / "s.nii").write_bytes(raw_scan(data, affine=AFFINE, version=version, vox_offset=0))
    volume = read_volume(tmp_path / "s.nii")
    assert np.array_equal(volume.data, data)
    write_volume(tmp_path / "o.nii", volume.data, volume)
    assert np.array_equal(nib.load(tmp_path / "o.nii").get_fdata(), data)


def test_a_header_extension_is_no_part_of_the_voxels(tmp_path):
    image = nib.Nifti1Image(phantom(AFFINE, SHAPE)[0], AFFINE)
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"secret" * 50))
    nib.save(image, tmp_path / "s.nii")
    volume = read_volume(tmp_path / "s.nii")
    assert np.array_equal(volume.data, image.get_fdata())
    write_volume(tmp_path / "o.nii", volume.data, volume)
    assert b"secret" not in (tmp_path / "o.nii").read_bytes()


def test_forms_that_differ_by_rounding_agree(tmp_path):
    affine = AFFINE + np.array([[0, 0, 0, 0.05], [0, 0, 0, -0.2], [0.001, 0, 0, 0], [0, 0, 0, 0]])
    header = raw_scan(phantom(AFFINE, SHAPE)[0], affine=AFFINE, srow_x=affine[0], srow_y=affine[1], srow_z=affine[2])
    (tmp_path / "s.nii").write_bytes(header)
    assert read_volume(tmp_path / "s.nii").warnings == ()


@pytest.mark.parametrize(("value", "taken"), [(-32768, True), (4095, True), (-2, False), (0, False), (1001, False)])
def test_padding_beside_the_field_of_view_is_air_where_it_is_far_from_all_else(tmp_path, value, taken):
    data = np.random.default_rng(0).integers(1, 1000, SHAPE).astype(np.int16)
    data[:3], data[-3:] = value, value
    volume = read_volume(save(tmp_path / "a_t1.nii.gz", data, AFFINE))
    assert (volume.data[0] == (1 if taken else value)).all()
    assert any("beside the field of view" in warning for warning in volume.warnings) == taken
