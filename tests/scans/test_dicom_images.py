"""Series as archives leave them, rounded, copied, mixed with other pictures, are read as their exact twins."""

import gzip

import nibabel as nib
import numpy as np
import pytest
from support.commands import run
from support.dicoms import series_of, stated, write_series

from vae_loc.errors import UnusableInput
from vae_loc.scans.dicom_headers import all_series
from vae_loc.scans.dicom_series import convert_dicom, is_dicom, nifti_bytes


def image_of(folder, wanted=None):
    return nib.Nifti1Image.from_bytes(gzip.decompress(nifti_bytes(series_of(folder, wanted))))


@pytest.fixture(scope="module")
def twin(tmp_path_factory):
    """The image of the series without a fault."""
    folder = tmp_path_factory.mktemp("twin")
    write_series(folder / "s")
    return image_of(folder / "s")


def same(image, twin, *, off_mm=1e-5):
    assert np.array_equal(image.get_fdata(), twin.get_fdata())
    assert np.abs(image.affine - twin.affine).max() <= off_mm


def jittered(image, k):
    noise = np.random.default_rng(k).uniform(-3e-8, 3e-8, 6)
    image.ImageOrientationPatient = [float(v) + e for v, e in zip(image.ImageOrientationPatient, noise, strict=True)]


def rounded(image, _):
    image.ImagePositionPatient = [round(float(value), 1) for value in image.ImagePositionPatient]


@pytest.mark.parametrize(("change", "off_mm"), [(jittered, 1e-5), (rounded, 0.1)])
def test_what_an_archive_rounds_is_read_as_it_was(tmp_path, twin, change, off_mm):
    write_series(tmp_path / "s", change=change)
    same(image_of(tmp_path / "s"), twin, off_mm=off_mm)


def test_a_gap_is_no_rounding(tmp_path):
    def moved(image, k):
        if k > 20:
            image.ImagePositionPatient = [*image.ImagePositionPatient[:2], float(image.ImagePositionPatient[2]) + 2]

    write_series(tmp_path / "s", change=moved)
    with pytest.raises(UnusableInput, match="no regular volume"):
        image_of(tmp_path / "s")


def test_a_series_that_was_exported_twice_counts_once(tmp_path, twin):
    write_series(tmp_path / "s")
    for file in list((tmp_path / "s").iterdir()):
        (tmp_path / "s" / f"{file.name} (1)").write_bytes(file.read_bytes())
    same(image_of(tmp_path / "s"), twin)


@pytest.mark.parametrize(("implicit", "preamble"), [(True, None), (False, None), (True, bytes(128))])
def test_files_without_preamble_or_meta_information_are_a_series(tmp_path, twin, implicit, preamble):
    from pydicom import dcmread

    write_series(tmp_path / "s")
    for file in (tmp_path / "s").iterdir():
        image = dcmread(file)
        del image.file_meta
        image.preamble = preamble
        image.save_as(file, implicit_vr=implicit, little_endian=True, enforce_file_format=False)
    assert is_dicom(tmp_path / "s")
    same(image_of(tmp_path / "s"), twin)


def test_files_that_are_gzipped_one_by_one_are_a_series(tmp_path, twin):
    write_series(tmp_path / "s")
    for file in list((tmp_path / "s").iterdir()):
        file.with_name(f"{file.name}.dcm.gz").write_bytes(gzip.compress(file.read_bytes()))
        file.unlink()
    assert is_dicom(tmp_path / "s")
    same(image_of(tmp_path / "s"), twin)


def test_a_gzipped_file_that_unpacks_to_too_much_is_refused(tmp_path):
    with gzip.open(tmp_path / "x.dcm.gz", "wb") as file:
        file.write(bytes(128) + b"DICM")
        for _ in range(10):
            file.write(bytes(10_000_000))
    with pytest.raises(UnusableInput, match="found more"):
        series_of(tmp_path)


def test_a_picture_in_another_plane_is_left_out_by_name(tmp_path, twin, caplog):
    def scout(image, k):
        stated(SeriesInstanceUID=uid[0])(image, k)
        image.ImageOrientationPatient, image.InstanceNumber = [0, 1, 0, 0, 0, -1], 99

    uid = []
    write_series(tmp_path / "s", change=lambda image, k: uid.append(image.SeriesInstanceUID))
    write_series(tmp_path / "other", number=2, change=scout)
    next((tmp_path / "other").iterdir()).rename(tmp_path / "s" / "IM_scout")
    same(image_of(tmp_path / "s"), twin)
    assert "left out IM_scout: another plane than the series'" in caplog.text


def two_echoes(folder, **values):
    """Write a series of two images at each place, which differ in some values."""
    uid = []
    write_series(folder / "a", description="Ax PD/T2 FSE", change=lambda image, k: uid.append(image.SeriesInstanceUID))
    change = stated(SeriesInstanceUID=uid[0], **values)
    write_series(folder / "b", number=2, description="Ax PD/T2 FSE", change=change)


def test_of_two_echoes_the_one_with_a_contrast_is_taken(tmp_path, twin):
    two_echoes(tmp_path / "s", EchoTime="98")
    assert sorted(one.uid.partition("#")[2] for one in all_series(tmp_path / "s")) == ["EchoTime=3.0", "EchoTime=98"]
    assert series_of(tmp_path / "s").stated.contrast == "t2"
    same(image_of(tmp_path / "s"), twin)


@pytest.mark.parametrize(
    ("values", "words"),
    [({"EchoTime": "5"}, "EchoTime=3.0, EchoTime=5"),
     ({"AcquisitionNumber": "2"}, "AcquisitionNumber=, AcquisitionNumber=2"),
     ({"ImageType": ["ORIGINAL", "PRIMARY", "M", "NORM"]}, "ImageType=")],
)  # fmt: skip
def test_volumes_of_one_series_are_told_apart_and_chosen(tmp_path, twin, values, words):
    two_echoes(tmp_path / "s", **values)
    with pytest.raises(UnusableInput, match="holds 2 volumes, told apart by ") as refused:
        series_of(tmp_path / "s")
    assert words in str(refused.value)
    same(image_of(tmp_path / "s", str(refused.value).rpartition("--series '")[2][:-1]), twin)


def test_images_that_each_have_a_series_of_their_own_are_one(tmp_path, twin):
    from pydicom.uid import generate_uid

    write_series(tmp_path / "s", change=lambda image, k: setattr(image, "SeriesInstanceUID", generate_uid()))
    same(image_of(tmp_path / "s"), twin)


@pytest.mark.parametrize(("signed", "padding"), [(0, 4095), (1, -32768)])
def test_padding_is_air(tmp_path, twin, signed, padding):
    def padded(image, _):
        pixels = image.pixel_array.astype("<i2" if signed else "<u2")
        pixels[:, :3] = padding
        image.PixelRepresentation, image.PixelData = signed, pixels.tobytes()
        stated(PixelPaddingValue=padding)(image, _)
        image["PixelPaddingValue"].VR = "SS" if signed else "US"

    write_series(tmp_path / "s", change=padded)
    found = image_of(tmp_path / "s").get_fdata()
    assert np.array_equal(found[3:], twin.get_fdata()[3:])
    assert found[:3].max() <= twin.get_fdata().min() + 1


@pytest.mark.parametrize("packed", [None, "RLELossless", "JPEGLSLossless"])
def test_overlays_in_unused_high_bits_are_removed(tmp_path, twin, packed):
    import pydicom.uid

    if packed == "JPEGLSLossless":
        pytest.importorskip("jpeg_ls")

    def overlaid(image, _):
        pixels = image.pixel_array
        pixels[5:9, 5:9] |= 0x4000
        image.PixelData = pixels.tobytes()
        if packed:
            image.compress(getattr(pydicom.uid, packed), generate_instance_uid=False)
        image.BitsStored, image.HighBit = 12, 11

    write_series(tmp_path / "s", change=overlaid)
    same(image_of(tmp_path / "s"), twin)


def test_the_file_that_does_not_go_with_the_others_is_named(tmp_path):
    def odd(image, k):
        if k == 7:
            image.PixelSpacing = [1, 1]

    write_series(tmp_path / "s", change=odd)
    with pytest.raises(UnusableInput, match=r"; IM\d+ with another PixelSpacing than the other 33 images"):
        image_of(tmp_path / "s")


def test_a_header_without_what_is_needed_is_said_in_plain_words(tmp_path):
    write_series(tmp_path / "s", change=stated(PixelSpacing=None))
    (fault,) = convert_dicom([tmp_path / "s"], tmp_path / "out").faults.values()
    assert "a header states no PixelSpacing" in str(fault)


def test_a_nifti_below_a_series_is_named(tmp_path, caplog):
    write_series(tmp_path / "s")
    (tmp_path / "s" / "deeper").mkdir()
    (tmp_path / "s" / "deeper" / "old_t1.nii.gz").touch()
    assert not convert_dicom([tmp_path / "s"], tmp_path / "out").faults
    assert (
        "1 NIfTI files lie among the DICOM files: left out; name them to score them: deeper/old_t1.nii.gz"
        in caplog.text
    )


def test_a_nifti_beside_a_series_is_refused(tmp_path, twin, small_model, monkeypatch, capsys):
    write_series(tmp_path / "s")
    nib.save(twin, tmp_path / "s" / "old_t1.nii.gz")
    code, said = run(monkeypatch, capsys, "score", tmp_path / "s", "-m", small_model, "-o", tmp_path / "out")
    assert code == 4
    assert "holds NIfTI scans beside DICOM files; name a scan" in said.err
