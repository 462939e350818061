"""A calibrated model holds thresholds that segment uses; the model itself is never changed."""

import json

import numpy as np
import pytest
from support.commands import invoke, run

from vae_loc.model.checkpoint import healthy_threshold, load_checkpoint
from vae_loc.vocabulary import METHODS


def test_calibrate_stores_thresholds_that_segment_uses(patients, model_file, tmp_path):
    before = model_file.read_bytes()
    out = tmp_path / "c.safetensors"
    options = ["--labels", "{subject}_seg.nii.gz", "--folds", "5"]
    rows = json.loads(invoke("calibrate", model_file, patients, *options, "-o", out, "--json").stdout)["folds"]
    assert model_file.read_bytes() == before
    labelled = load_checkpoint(out).facts.labelled
    chosen = [row["threshold"] for row in rows if row["method"] == "rec-error"]
    assert labelled.thresholds["rec-error"] == np.median(chosen)
    assert labelled.folds == 4  # the fifth part is p5, whose annotation is empty
    assert labelled.dice["rec-error"][0] > 0.5
    invoke("segment", patients / "p1_t1.nii.gz", "-m", out, "-o", tmp_path / "s", "--method", "rec-error")
    mask = json.loads((tmp_path / "s/p1_t1_scores.json").read_text())["masks"]["rec-error"]
    assert mask["threshold"] == labelled.thresholds["rec-error"]
    assert mask["threshold_from"].startswith("labelled calibration")
    invoke("segment", patients / "p1_t1.nii.gz", "-m", out, "-o", tmp_path / "s", "--fpr", "0.01")
    asked = json.loads((tmp_path / "s/p1_t1_scores.json").read_text())["masks"]["combi"]
    assert asked["threshold_from"] == "healthy fpr 0.01"
    invoke("segment", patients / "p1_t1.nii.gz", "-m", out, "-o", tmp_path / "s", "--threshold", "3")
    assert json.loads((tmp_path / "s/p1_t1_scores.json").read_text())["masks"]["combi"]["threshold"] == 3


def test_healthy_calibration_on_the_held_out_scans_changes_little(healthy_folder, model_file, tmp_path):
    """They are the ones that training calibrated on; their places are blended with themselves."""
    held_out = json.loads(model_file.with_suffix(".training.json").read_text())["holdout_subjects"]
    scans = [healthy_folder / f"{name}_t1.nii.gz" for name in held_out]
    out = tmp_path / "h.safetensors"
    invoke("calibrate", model_file, *[a for scan in scans for a in ("--healthy", scan)], "-o", out)
    before, after = load_checkpoint(model_file), load_checkpoint(out)
    for name in before.weights:
        assert np.array_equal(before.weights[name], after.weights[name])
    assert np.array_equal(before.reference["template"], after.reference["template"])
    for name in METHODS:
        old, new = (np.array(model.facts.healthy.raw_maps[name]) for model in (before, after))
        assert np.array_equal(old, new)  # bare scores know no place
        assert healthy_threshold(after, name, 0.05) == pytest.approx(healthy_threshold(before, name, 0.05), rel=0.25)


def test_each_healthy_scan_is_read_once(healthy_folder, small_model, tmp_path, voxel_reads):
    invoke("calibrate", small_model, "--healthy", healthy_folder, "-o", tmp_path / "h.safetensors", "--quiet")
    assert voxel_reads == dict.fromkeys(healthy_folder.iterdir(), 1)


def test_the_model_itself_is_never_overwritten(model_file, healthy_folder, monkeypatch, capsys):
    before = model_file.read_bytes()
    arguments = ["calibrate", model_file, "--healthy", healthy_folder, "-o", model_file]
    code, said = run(monkeypatch, capsys, *arguments)
    assert code == 2
    assert said.err == "vae-loc: -o: expected a new file, got the model itself; it is never changed\n"
    assert model_file.read_bytes() == before
