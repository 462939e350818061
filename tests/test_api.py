"""The way from Python gives what the commands give."""

import logging
import subprocess
import sys

import nibabel as nib
import numpy as np
import pytest
from support.commands import invoke
from support.phantoms import AFFINE, save

import vae_loc
from vae_loc.errors import UnusableInput


def test_python_gives_what_the_command_gives(tmp_path, model_file, scan):
    found = vae_loc.localize(scan, model=str(model_file))
    invoke("score", scan, "-m", model_file, "-o", tmp_path / "out")
    written = nib.load(tmp_path / "out" / "pat_t1_desc-combi_anomaly.nii.gz").get_fdata(dtype=np.float32)
    assert np.array_equal(found.maps["combi"], written)


def test_findings_from_python_are_those_of_the_command(tmp_path, model_file, scan):
    found = vae_loc.segment(scan, model=str(model_file), fpr=0.2)
    invoke("segment", scan, "-m", model_file, "-o", tmp_path / "out", "--fpr", "0.2")
    written = nib.load(tmp_path / "out" / "pat_t1_desc-combi_dseg.nii.gz").get_fdata()
    assert np.array_equal(found.numbers, written)
    assert found.findings[0].number == 1


def test_a_misspelt_option_is_refused(scan):
    with pytest.raises(TypeError, match="brainmask"):
        vae_loc.segment(scan, brainmask="auto")


def test_python_raises_what_the_command_says(tmp_path):
    with pytest.raises(UnusableInput, match="could not be read"):
        vae_loc.localize(tmp_path / "none.nii", model="t1")


def test_importing_the_package_is_light():
    code = "import sys, vae_loc; print([m for m in ('torch', 'numpy', 'nibabel', 'typer') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


def test_what_the_package_offers_is_listed_and_there():
    for name in ("localize", "read_volume", "write_volume", "segment", "__version__"):
        assert name in dir(vae_loc)
        assert getattr(vae_loc, name)
    with pytest.raises(AttributeError, match="nothing"):
        _ = vae_loc.nothing


def test_a_model_chosen_by_intensities_is_said_in_the_log(tmp_path, scan, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("vae_loc"), "propagate", True)  # a command of an earlier test took it over
    nameless = scan.rename(tmp_path / "nameless.nii.gz")
    found = vae_loc.localize(nameless, methods=("rec-error", "combi"))
    assert list(found.maps) == ["rec-error", "combi"]
    assert "by its intensities" in caplog.text


def test_the_mask_beside_a_scan_is_used(tmp_path, scan, model_file):
    inside = nib.load(scan).get_fdata() > 0
    inside[:, :, 18:] = False
    save(tmp_path / "pat_brainmask.nii.gz", inside.astype(np.uint8), AFFINE)
    found = vae_loc.localize(scan, model=str(model_file))
    assert found.scan.brain_source == "file"
    assert np.array_equal(found.brain, inside)
    assert vae_loc.localize(scan, model=str(model_file), brain_mask="auto").scan.brain_source == "skull-stripped"
