"""DICOM archives: nothing leaves them, nothing is unpacked to disk, and hostile ones are refused."""

import os
import time
import zipfile

import pytest
from support.dicoms import series_of, zipped

from vae_loc.errors import UnusableInput
from vae_loc.scans import dicom_files
from vae_loc.scans.dicom_series import convert_dicom


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


def test_a_pipe_called_zip_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "x.zip")
    with pytest.raises(UnusableInput, match="a pipe"):
        series_of(tmp_path / "x.zip")


def test_a_zip_that_deflates_too_well_is_refused_before_it_is_unpacked(tmp_path):
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive, archive.open("a", "w") as file:
        file.write(bytes(128) + b"DICM")
        for _ in range(20):
            file.write(bytes(10_000_000))
    began = time.perf_counter()
    with pytest.raises(UnusableInput, match="claim to hold 200000132"):
        series_of(tmp_path / "bomb.zip")
    assert time.perf_counter() - began < 1
