"""The way from Python gives what the commands give."""

import json
import logging
import subprocess
import sys

import nibabel as nib
import numpy as np
import pytest
from support.commands import invoke
from support.phantoms import AFFINE, SHAPE, phantom, save

import vae_loc
from vae_loc.errors import UnusableInput, UnusableOption
from vae_loc.model import network
from vae_loc.scoring.score_options import Segmentation


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


def test_errors_are_there_before_anything_else_is():
    code = "import vae_loc; print(vae_loc.errors.VaeLocError.__name__)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "VaeLocError\n"


def test_what_the_package_offers_is_listed_and_there():
    names = ["errors", "localize", "read_volume", "segment", "write_volume"]
    assert [name for name in dir(vae_loc) if not name.startswith("__")] == names
    for name in (*names, "__version__"):
        assert getattr(vae_loc, name)
    with pytest.raises(AttributeError, match="nothing"):
        _ = vae_loc.nothing


@pytest.mark.full
def test_a_model_chosen_by_intensities_is_said_in_the_log(tmp_path, scan, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("vae_loc"), "propagate", True)  # a command of an earlier test took it over
    nameless = scan.rename(tmp_path / "nameless.nii.gz")
    found = vae_loc.localize(nameless, methods=("rec-error", "combi"))
    assert list(found.maps) == ["rec-error", "combi"]
    assert "by its intensities" in caplog.text


def test_the_mask_beside_a_scan_is_used(tmp_path, scan, model_file):
    inside = nib.load(scan).get_fdata() > 0
    inside[:, :, 30:] = False
    save(tmp_path / "pat_brainmask.nii.gz", inside.astype(np.uint8), AFFINE)
    found = vae_loc.localize(scan, model=str(model_file))
    assert found.located.scan.brain_source == "file"
    assert np.array_equal(found.brain, inside)
    assert (
        vae_loc.localize(scan, model=str(model_file), brain_mask="auto").located.scan.brain_source == "skull-stripped"
    )


def test_an_image_in_memory_gives_what_its_file_gives(scan, model_file):
    from_file, from_image = vae_loc.localize([scan, nib.load(scan)], model=model_file)
    assert np.array_equal(from_image.maps["combi"], from_file.maps["combi"])
    assert from_image.warnings == from_file.warnings
    assert from_image.case == from_file.case


def test_an_image_without_a_file_is_saved_too(tmp_path, model_file, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save(tmp_path / "image_brainmask.nii.gz", np.ones(SHAPE, np.uint8), AFFINE)  # of something else
    found = vae_loc.localize(nib.Nifti1Image(phantom(AFFINE, SHAPE)[0], AFFINE), model=model_file)
    assert found.located.scan.brain_source == "skull-stripped"
    (scores,) = [path for path in found.save("out") if path.suffix == ".json"]
    assert scores.name == "image_scores.json"
    assert len(json.loads(scores.read_text())["inputs"]["scan"]) == 64


def test_the_mask_of_an_image_may_be_a_file(tmp_path, model_file):
    data, inside = phantom(AFFINE, SHAPE)
    mask = save(tmp_path / "mask.nii.gz", inside.astype(np.uint8), AFFINE)
    found = vae_loc.localize(nib.Nifti1Image(data, AFFINE), model=model_file, brain_mask=str(mask))
    assert np.array_equal(found.brain, inside)


def test_of_several_scans_the_model_is_read_once(healthy_folder, model_file, monkeypatch):
    reads = []
    real = network.load_checkpoint
    monkeypatch.setattr(network, "load_checkpoint", lambda path: reads.append(path) or real(path))
    network._loaded.cache_clear()
    results = vae_loc.localize([healthy_folder / f"sub{n}_t1.nii.gz" for n in range(3)], model=model_file)
    assert [one.case.subject for one in results] == ["sub0", "sub1", "sub2"]
    assert len(reads) == 1


def test_a_folder_is_not_taken_for_a_scan(healthy_folder, model_file):
    with pytest.raises(UnusableInput, match="expected one scan, found 5; give a list"):
        vae_loc.localize(healthy_folder, model=model_file)


@pytest.mark.parametrize(
    ("choice", "words"),
    [({"methods": "combi"}, "--method: expected a list of some of rec-error"),
     ({"methods": [["combi"]]}, "--method: expected a list"), ({"methods": []}, "--method: expected a list"),
     ({"polarity": "up"}, "--polarity: expected any, bright, dark, got 'up'"),
     ({"brain_mask": np.ones(SHAPE)}, "--brain-mask: expected a file, auto or none, got ndarray"),
     ({"device": 0}, "--device: expected auto, cpu")],
)  # fmt: skip
def test_python_refuses_what_the_commands_refuse(scan, choice, words):
    with pytest.raises(UnusableOption, match=words):
        vae_loc.localize(scan, model="t1", **choice)


@pytest.mark.parametrize("scans", [np.ones((4, 4, 4)), [np.ones((4, 4, 4))], 5, None])
def test_an_array_without_an_affine_is_no_scan(scans):
    with pytest.raises(UnusableOption, match=r"scan: expected a file, a nibabel image.*nibabel.Nifti1Image holds"):
        vae_loc.localize(scans)


@pytest.mark.parametrize(
    ("rule", "words"),
    [({"fpr": 7}, "--fpr: expected a finite number from 0.0001 to 0.5, got 7"),
     ({"fpr": "5%"}, "--fpr: expected a finite number"), ({"fpr": np.ones(2)}, "--fpr: expected a finite number"),
     ({"false_findings": 0}, "--false-findings: expected a finite number from 0.001 to 5, got 0"),
     ({"threshold": float("nan")}, "--threshold: expected a finite number, got nan"),
     ({"min_size_mm3": -5}, "--min-size: expected a finite number of 0 or more, got -5"),
     ({"threshold": 3, "fpr": 0.01}, "--threshold with --fpr: expected one rule for findings")],
)  # fmt: skip
def test_a_rule_outside_its_range_is_refused_in_python_too(scan, model_file, rule, words):
    with pytest.raises(UnusableOption, match=words):
        vae_loc.segment(scan, model=model_file, **rule)
    with pytest.raises(UnusableOption, match=words):
        Segmentation(**rule)


def test_warnings_are_those_of_the_command(tmp_path, model_file, scan):
    image = nib.load(scan)
    image.set_sform(None, code=0)
    image.set_qform(None, code=0)
    nib.save(image, scan)
    found = vae_loc.localize(scan, model=model_file)
    said = invoke("score", scan, "-m", model_file, "-o", tmp_path / "out").output
    assert any("left and right are a guess" in warning for warning in found.warnings)
    for warning in found.warnings:
        assert warning in " ".join(said.split())
