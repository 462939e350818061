"""A nibabel image in memory is checked as its file would be."""

import nibabel as nib
import numpy as np
import pytest
from support.phantoms import AFFINE, SHAPE, phantom, save

from vae_loc.errors import UnusableInput
from vae_loc.scans.image_in_memory import digest_of, image_volume
from vae_loc.scans.volume import read_volume, write_volume


@pytest.fixture
def image():
    return nib.Nifti1Image(phantom(AFFINE, SHAPE)[0], AFFINE)


def test_an_image_and_its_file_are_the_same_volume(tmp_path, image):
    scan = save(tmp_path / "a.nii.gz", image.get_fdata(dtype=np.float32), AFFINE)
    in_memory, read = image_volume(nib.load(scan)), read_volume(scan)
    assert np.array_equal(in_memory.data, read.data)
    assert np.array_equal(in_memory.affine, read.affine)
    assert in_memory.path == read.path
    assert in_memory.header["sform_code"] == read.header["sform_code"]
    assert in_memory.warnings == read.warnings


def test_the_slope_of_a_file_is_applied_once(tmp_path):
    data = phantom(AFFINE, SHAPE)[0]
    stored = nib.Nifti1Image(data.astype(np.int16), AFFINE)
    stored.header.set_slope_inter(0.5, 3)
    nib.save(stored, tmp_path / "a.nii")
    assert np.array_equal(image_volume(nib.load(tmp_path / "a.nii")).data, read_volume(tmp_path / "a.nii").data)


@pytest.mark.parametrize(
    "kind", [nib.Nifti1Pair, nib.Nifti2Image, nib.MGHImage, nib.Spm99AnalyzeImage], ids=lambda kind: kind.__name__
)
def test_other_formats_keep_voxels_and_place(tmp_path, image, kind):
    volume = image_volume(kind.from_image(image))
    assert np.array_equal(volume.data, image.dataobj)
    if kind is not nib.Spm99AnalyzeImage:  # its header has no codes
        assert np.allclose(volume.affine, AFFINE)
    write_volume(tmp_path / "out.nii.gz", volume.data, volume)
    assert np.allclose(read_volume(tmp_path / "out.nii.gz").affine, volume.affine)


def test_a_changed_affine_counts(image):
    moved = AFFINE.copy()
    moved[:3, 3] += 7
    assert np.allclose(image_volume(nib.Nifti1Image(image.dataobj, moved, image.header)).affine, moved)


@pytest.mark.parametrize(
    "data, affine, said",
    [
        (np.ones(SHAPE, np.float32), AFFINE, "every voxel is 1"),
        (np.full(SHAPE, np.nan, np.float32), AFFINE, "NaN"),
        (np.ones((*SHAPE, 3), np.float32), AFFINE, "3D volume"),
        (np.ones((3, 3, 3), np.float32), AFFINE, "hold a brain"),
        (np.ones(SHAPE[:2], np.float32), AFFINE, "3D volume"),
        (np.ones(SHAPE, np.complex64), AFFINE, "integer or float voxels, found complex64"),
        (phantom(AFFINE, SHAPE)[0], np.diag([100.0, 4, 4, 1]), "voxels of"),
        (phantom(AFFINE, SHAPE)[0], np.array([[4.0, 4, 0, 0], [0, 0, 4, 0], [0, 0, 4, 0], [0, 0, 0, 1]]), "affine"),
    ],
)
def test_what_a_file_would_be_refused_for_is_refused(data, affine, said):
    with pytest.raises(UnusableInput, match=said):
        image_volume(nib.Nifti1Image(data, affine))


def test_a_damaged_file_behind_an_image_is_one_line(tmp_path, image):
    scan = save(tmp_path / "a.nii.gz", image.get_fdata(dtype=np.float32), AFFINE)
    scan.write_bytes(scan.read_bytes()[:20_000])
    with pytest.raises(UnusableInput, match=r"a\.nii\.gz: expected voxels that nibabel can read"):
        image_volume(nib.load(scan))


def test_the_image_is_left_as_it_was(image):
    before = image.header.binaryblock, image.affine.copy(), np.array(image.dataobj)
    image_volume(image)
    assert image.header.binaryblock == before[0]
    assert np.array_equal(image.affine, before[1])
    assert np.array_equal(image.dataobj, before[2])


def test_the_digest_tells_images_apart(image):
    other = nib.Nifti1Image(np.array(image.dataobj) * 2, AFFINE)
    assert digest_of(image_volume(image)) == digest_of(image_volume(image))
    assert digest_of(image_volume(image)) != digest_of(image_volume(other))
