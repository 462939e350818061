"""A DICOM series becomes a scan that lies where its headers say."""

import gzip
import shutil

import nibabel as nib
import numpy as np
import pytest
from support.dicoms import write_series, zipped

from vae_loc.errors import UnusableInput
from vae_loc.scans.dicom_series import convert_dicom, is_dicom, nifti_bytes, series_of


def image_of(folder):
    return nib.Nifti1Image.from_bytes(gzip.decompress(nifti_bytes(series_of(folder))))


def test_an_oblique_series_lies_where_its_headers_say(series_folder):
    folder, affine, data = series_folder
    image = image_of(folder)
    voxels = np.argwhere(np.asarray(image.dataobj) > 0)
    world = voxels @ image.affine[:3, :3].T + image.affine[:3, 3]
    back = (world - affine[:3, 3]) @ np.linalg.inv(affine[:3, :3]).T
    assert np.abs(back - back.round()).max() < 1e-4
    assert np.array_equal(image.get_fdata()[tuple(voxels.T)], data[tuple(back.round().astype(int).T)])
    assert len(voxels) == np.count_nonzero(data)


def test_simpleitk_puts_every_voxel_in_the_same_place(series_folder):
    import SimpleITK as sitk

    folder, *_ = series_folder
    names = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder / "DICOM" / "SE000"))
    other = sitk.ReadImage(names)
    image = image_of(folder)
    values = sitk.GetArrayFromImage(other).T
    for index in np.argwhere(values > 0)[::997]:
        world = np.array(other.TransformIndexToPhysicalPoint([int(i) for i in index])) * [-1, -1, 1]
        place = (np.linalg.inv(image.affine) @ [*world, 1])[:3]
        assert np.allclose(place, place.round(), atol=1e-3)
        assert image.get_fdata()[tuple(place.round().astype(int))] == values[tuple(index)]


def test_a_zip_gives_the_bytes_of_its_folder(series_folder, tmp_path):
    archive = zipped(series_folder[0], tmp_path / "pat_t1.zip")
    assert nifti_bytes(series_of(archive)) == nifti_bytes(series_of(series_folder[0]))


def test_an_enhanced_file_gives_what_its_slices_give(series_folder, tmp_path):
    import highdicom as hd
    from pydicom import dcmread

    slices = [dcmread(file) for file in sorted(series_folder[0].rglob("IM*"))]
    uids = {"series_instance_uid": hd.UID(), "sop_instance_uid": hd.UID()}
    enhanced = hd.legacy.LegacyConvertedEnhancedMRImage(slices, series_number=2, instance_number=1, **uids)
    enhanced.save_as(tmp_path / "one.dcm")
    assert is_dicom(tmp_path / "one.dcm")
    found, expected = image_of(tmp_path / "one.dcm"), image_of(series_folder[0])
    for image in (found, expected):
        voxels = np.argwhere(image.get_fdata() > 0) @ image.affine[:3, :3].T + image.affine[:3, 3]
        image.world = voxels[np.lexsort(voxels.round(2).T)]
    assert np.allclose(found.world, expected.world, atol=1e-3)


def test_several_series_are_listed_and_one_is_chosen(tmp_path):
    folder = tmp_path / "both"
    write_series(folder / "a", number=1)
    write_series(folder / "b", number=2, description="axial of Petra")
    with pytest.raises(UnusableInput) as refused:
        series_of(folder)
    message = str(refused.value)
    assert "found 2; choose one with --series" in message
    assert "number 1, MR, 34 x 54 x 44, t1 mprage" in message
    assert "Petra" not in message
    uid = message.split("--series: ")[1].split(" ")[0]
    assert series_of(folder, uid).uid == uid
    with pytest.raises(UnusableInput, match=r"holds no series 1\.2\.3"):
        series_of(folder, "1.2.3")


def test_a_missing_slice_is_refused(series_folder, tmp_path):
    folder = tmp_path / "gap"
    shutil.copytree(series_folder[0], folder)
    files = sorted(folder.rglob("IM*"))
    from pydicom import dcmread

    middle = next(f for f in files if dcmread(f, stop_before_pixels=True).InstanceNumber == 17)
    middle.unlink()
    with pytest.raises(UnusableInput, match="no regular volume of 33 slices"):
        nifti_bytes(series_of(folder))


@pytest.mark.parametrize(
    ("left", "words"),
    [(-500, "no regular volume of 34 slices: The number of bytes of pixel data is less than expected"),
     (400, "no regular volume of 33 slices: Series is not a regularly-spaced volume")],
    ids=["pixels", "header"],
)  # fmt: skip
def test_a_cut_file_makes_its_series_refused_by_name_and_reason(series_folder, tmp_path, left, words):
    from pydicom import dcmread

    folder = tmp_path / "cut"
    shutil.copytree(series_folder[0], folder)
    file = next(f for f in folder.rglob("IM*") if dcmread(f, stop_before_pixels=True).InstanceNumber == 17)
    file.write_bytes(file.read_bytes()[:left])
    with pytest.raises(UnusableInput, match=rf"cut: series [0-9.]+ is {words}"):
        nifti_bytes(series_of(folder))


def test_a_scan_of_the_same_name_is_never_overwritten(series_folder, tmp_path):
    (tmp_path / "pat_t1.nii.gz").write_bytes(b"precious")
    (fault,) = convert_dicom([series_folder[0]], tmp_path).faults.values()
    assert "is there already" in str(fault)
    assert (tmp_path / "pat_t1.nii.gz").read_bytes() == b"precious"


def test_folders_of_nifti_are_no_dicom(scan):
    assert not is_dicom(scan.parent)
    assert not is_dicom(scan)
