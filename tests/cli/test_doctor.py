"""doctor says what is wrong."""

import json
from importlib.metadata import PackageNotFoundError, version

import pytest
from typer.testing import CliRunner

from vae_loc.cli.app import app
from vae_loc.model import checkpoint


def examined(*arguments):
    result = CliRunner().invoke(app, ["doctor", *map(str, arguments), "--json"])
    return result.exit_code, {check["topic"]: check for check in json.loads(result.stdout)}


def test_a_sound_installation_has_no_fault(tmp_path):
    code, found = examined(tmp_path)
    assert code == 0
    assert {"vae-loc", "python", "numpy", "devices", "model t1", f"disk {tmp_path}"} <= set(found)
    assert not list(tmp_path.iterdir())


def test_a_damaged_model_is_a_fault(tmp_path, monkeypatch):
    (tmp_path / "t1.safetensors").write_bytes(b"junk")
    monkeypatch.setattr(checkpoint, "PLACES", (tmp_path,))
    code, found = examined(tmp_path)
    assert code == 5
    assert found["model t1"]["state"] == "fault"


def test_a_place_that_cannot_be_written_is_a_fault(tmp_path):
    (tmp_path / "file").write_text("")
    code, found = examined(tmp_path / "file" / "below")
    assert code == 4
    assert found[f"disk {tmp_path / 'file' / 'below'}"]["state"] == "fault"


@pytest.mark.parametrize(("package", "code", "state"), [("torch", 0, "absent"), ("nibabel", 4, "fault")])
def test_what_only_training_needs_may_be_absent(tmp_path, monkeypatch, package, code, state):
    def without(name):
        if name == package:
            raise PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr("vae_loc.system.versions.version", without)
    found_code, found = examined(tmp_path)
    assert (found_code, found[package]["state"]) == (code, state)
