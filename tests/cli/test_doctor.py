"""doctor says what is wrong; the way from Python gives what the commands give."""

import json
import subprocess
import sys

import nibabel as nib
import numpy as np
import pytest
from typer.testing import CliRunner

import vae_loc
from vae_loc.cli import doctor
from vae_loc.cli.app import app
from vae_loc.errors import UnusableInput
from vae_loc.model import shipped


def examined(*arguments):
    result = CliRunner().invoke(app, ["doctor", *map(str, arguments), "--json"])
    return result.exit_code, {finding["topic"]: finding for finding in json.loads(result.stdout)}


def test_a_sound_installation_has_no_fault(tmp_path):
    code, found = examined(tmp_path)
    assert code == 0
    assert {"vae-loc", "python", "numpy", "devices", "model t1", f"disk {tmp_path}"} <= set(found)
    assert not list(tmp_path.iterdir())


def test_a_damaged_model_is_a_fault(tmp_path, monkeypatch):
    (tmp_path / "t1.safetensors").write_bytes(b"junk")
    monkeypatch.setattr(shipped, "PLACES", (tmp_path,))
    code, found = examined(tmp_path)
    assert code == 5
    assert found["model t1"]["state"] == "fault"


def test_a_place_that_cannot_be_written_is_a_fault(tmp_path):
    (tmp_path / "file").write_text("")
    code, found = examined(tmp_path / "file" / "below")
    assert code == 4
    assert found[f"disk {tmp_path / 'file' / 'below'}"]["state"] == "fault"


def test_what_only_training_needs_may_be_absent(tmp_path, monkeypatch):
    real = doctor._version
    monkeypatch.setattr(doctor, "_version", lambda name: None if name == "deepbet" else real(name))
    code, found = examined(tmp_path)
    assert (code, found["deepbet"]["state"]) == (0, "absent")
    monkeypatch.setattr(doctor, "_version", lambda name: None if name == "nibabel" else real(name))
    code, found = examined(tmp_path)
    assert (code, found["nibabel"]["state"]) == (4, "fault")


def test_python_gives_what_the_command_gives(tmp_path, model_file, scan):
    found = vae_loc.localize(scan, model=str(model_file))
    CliRunner().invoke(app, ["score", str(scan), "-m", str(model_file), "-o", str(tmp_path / "out")])
    written = nib.load(tmp_path / "out" / "pat_t1_desc-combi_anomaly.nii.gz").get_fdata(dtype=np.float32)
    assert np.array_equal(found.maps["combi"], written)


def test_python_raises_what_the_command_says(tmp_path):
    with pytest.raises(UnusableInput, match="could not be read"):
        vae_loc.localize(tmp_path / "none.nii", model="t1")


def test_importing_the_package_is_light():
    code = "import sys, vae_loc; print([m for m in ('torch', 'numpy', 'nibabel', 'typer') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"
