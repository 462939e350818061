"""Damaged headers are refused; what anonymisers leave in headers is emptied or added."""

import io
from pathlib import Path

import pytest
from pydicom.data import get_testdata_file
from support.dicoms import series_of, write_series

from vae_loc.errors import UnusableInput
from vae_loc.scans.dicom_headers import DATE, TIME, parsed
from vae_loc.scans.dicom_series import nifti_bytes


def test_a_value_of_impossible_length_is_a_damaged_file():
    """Found by fuzz_coverage of benchmarks: pydicom decodes values late, and raises what is no ValueError."""
    raw = bytearray(Path(get_testdata_file("MR_small.dcm", download=False)).read_bytes())
    group_length = raw.index(b"\x02\x00\x00\x00UL") + 6
    raw[group_length : group_length + 2] = b"\x03\x00"
    with pytest.raises(UnusableInput, match=r"x\.dcm is a damaged DICOM file"):
        parsed(Path("s"), "x.dcm", io.BytesIO(raw), header_only=True)


def test_a_value_of_an_unknown_kind_is_a_damaged_file(tmp_path):
    """Found by fuzz_coverage of benchmarks: the frame of reference is parsed when it is asked for."""
    raw = Path(get_testdata_file("MR_small.dcm", download=False)).read_bytes()
    (tmp_path / "a.dcm").write_bytes(raw.replace(b"\x20\x00\x52\x00UI", b"\x20\x00\x52\x00Ui"))
    with pytest.raises(UnusableInput, match=r"is damaged \(NotImplementedError\)"):
        nifti_bytes(series_of(tmp_path))


@pytest.mark.parametrize(
    ("value", "valid"), [("20240229", True), ("***", False), ("20241301", False), ("2024-01-01", False)]
)
def test_a_date_has_eight_digits_that_are_one(value, valid):
    assert bool(DATE.fullmatch(value)) == valid


@pytest.mark.parametrize(
    ("value", "valid"), [("12", True), ("1200", True), ("120000.123", True), ("25:61", False), ("240000", False)]
)
def test_a_time_has_hours_and_what_follows(value, valid):
    assert bool(TIME.fullmatch(value)) == valid


def test_frames_that_are_no_sequence_have_no_place(tmp_path):
    """As a damaged or careless header may state them: the images are still known by their own places."""

    def change(image, _):
        image.add_new(0x52009230, "OB", b"no sequence")

    affine, _ = write_series(tmp_path, change=change)
    images = series_of(tmp_path)
    assert set(images.images_of(affine)) == set(range(len(images.files)))
