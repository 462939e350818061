"""DICOM in, and a DICOM Segmentation out: geometry, choice of series, hostile archives, no patient's name."""

import gzip
import shutil
import subprocess
import zipfile

import nibabel as nib
import numpy as np
import pytest
from dicoms import PATIENT, write_series
from typer.testing import CliRunner

from vae_loc.cli.app import app
from vae_loc.errors import UnusableInput
from vae_loc.scans import dicom_files
from vae_loc.scans.dicom_series import convert_dicom, is_dicom, nifti_bytes, series_of

pytest.importorskip("highdicom")
BALL = (28.0, 12.0, 16.0)


@pytest.fixture(scope="module")
def series_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pacs") / "pat_t1"
    return folder, *write_series(folder / "DICOM" / "SE000", ball=BALL)


def zipped(folder, path):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(p for p in folder.rglob("*") if p.is_file()):
            archive.write(file, file.relative_to(folder))
    return path


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


@pytest.mark.parametrize("name", ["../../escaped", "/tmp/escaped", "..\\escaped"])
def test_no_name_in_a_zip_leads_out_of_it(series_folder, tmp_path, name):
    (tmp_path / "inner").mkdir()
    archive = zipped(series_folder[0], tmp_path / "inner" / "x.zip")
    with zipfile.ZipFile(archive, "a") as more:
        more.writestr(name, b"hello")
    before = sorted(tmp_path.rglob("*"))
    convert_dicom([archive], tmp_path / "out")
    new = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")} - {
        path.relative_to(tmp_path).as_posix() for path in before
    }
    assert new == {"out", "out/x.nii.gz"}


def test_a_zip_that_unpacks_to_too_much_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(dicom_files, "MAX_BYTES", 1_000_000)
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a", bytes(2_000_000))
    with pytest.raises(UnusableInput, match="unpacks to more"):
        series_of(tmp_path / "bomb.zip")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 no zip", bytes(5000)])
def test_what_is_no_zip_is_one_line(tmp_path, content):
    (tmp_path / "x.zip").write_bytes(content)
    with pytest.raises(UnusableInput, match="expected a zip of DICOM files"):
        series_of(tmp_path / "x.zip")


def test_a_damaged_file_names_itself(series_folder, tmp_path):
    folder = tmp_path / "cut"
    shutil.copytree(series_folder[0], folder)
    file = next(iter(sorted(folder.rglob("IM*"))))
    file.write_bytes(file.read_bytes()[:-500])
    with pytest.raises(UnusableInput):
        nifti_bytes(series_of(folder))


def test_a_scan_of_the_same_name_is_never_overwritten(series_folder, tmp_path):
    (tmp_path / "pat_t1.nii.gz").write_bytes(b"precious")
    (fault,) = convert_dicom([series_folder[0]], tmp_path).faults.values()
    assert "is there already" in str(fault)
    assert (tmp_path / "pat_t1.nii.gz").read_bytes() == b"precious"


def test_folders_of_nifti_are_no_dicom(scan):
    assert not is_dicom(scan.parent)
    assert not is_dicom(scan)


@pytest.fixture(scope="module")
def segmented(series_folder, tmp_path_factory, model_file):
    out = tmp_path_factory.mktemp("seg")
    options = ["-m", str(model_file), "-o", str(out), "--fpr", "0.01", "--dicom-seg", "--report"]
    result = CliRunner().invoke(app, ["segment", str(series_folder[0]), *options])
    assert result.exit_code == 0, (result.output, result.exception)
    return out, result.output


def test_the_segmentation_holds_the_mask_where_it_lies(segmented, series_folder):
    import highdicom as hd

    out, _ = segmented
    found = hd.seg.segread(out / "pat_t1_desc-combi_mask.dcm")
    volume = found.get_volume(combine_segments=True)
    mask = nib.load(out / "pat_t1_desc-combi_mask.nii.gz")

    def world(array, affine):
        points = np.argwhere(np.asarray(array) > 0) @ affine[:3, :3].T + affine[:3, 3]
        return points[np.lexsort(points.round(2).T)]

    ours, theirs = world(mask.dataobj, mask.affine), world(volume.array, volume.get_affine("RAS"))
    assert len(ours) > 0
    assert np.allclose(ours, theirs, atol=1e-3)


def test_the_segmentation_refers_to_the_source_series(segmented, series_folder):
    from pydicom import dcmread

    found = dcmread(segmented[0] / "pat_t1_desc-combi_mask.dcm")
    sources = [dcmread(file, stop_before_pixels=True) for file in series_folder[0].rglob("IM*")]
    (referred,) = found.ReferencedSeriesSequence
    assert referred.SeriesInstanceUID == sources[0].SeriesInstanceUID
    assert {item.ReferencedSOPInstanceUID for item in referred.ReferencedInstanceSequence} == {
        source.SOPInstanceUID for source in sources
    }
    assert (found.StudyInstanceUID, found.PatientID) == (sources[0].StudyInstanceUID, "P-4711")
    assert found.FrameOfReferenceUID == sources[0].FrameOfReferenceUID


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="needs dicom3tools")
def test_dciodvfy_finds_no_error(segmented):
    path = segmented[0] / "pat_t1_desc-combi_mask.dcm"
    said = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True).stderr
    assert "Segmentation" in said
    assert [line for line in said.splitlines() if line.startswith("Error")] == []


def test_no_output_but_the_segmentation_names_the_patient(segmented):
    out, said = segmented
    for part in (*PATIENT.split("^"), "P-4711"):
        assert part not in said
        for path in out.rglob("*"):
            if path.is_file() and path.suffix != ".dcm":
                assert part.encode() not in content(path), path.name


def content(path):
    raw = path.read_bytes()
    return gzip.decompress(raw) if path.suffix == ".gz" else raw


def test_a_segmentation_needs_a_series(scan, model_file, tmp_path):
    result = CliRunner().invoke(app, ["segment", str(scan), "-m", str(model_file), "-o", str(tmp_path), "--dicom-seg"])
    assert result.exit_code == 2 or type(result.exception).__name__ == "UnusableOption"
