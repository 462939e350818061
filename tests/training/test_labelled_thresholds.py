"""Thresholds of annotated subjects: of one fifth, reported on the others."""

import json
import re
import shutil

import nibabel as nib
import numpy as np
import pytest
from support.commands import invoke, run

from vae_loc.evaluation.metrics import rank
from vae_loc.model.checkpoint import load_checkpoint
from vae_loc.training.calibrate import split_parts


def test_the_threshold_is_the_best_of_the_fifth_and_is_reported_on_the_others(patients, model_file, tmp_path):
    options = ["--labels", "{subject}_seg.nii.gz", "--json", "-o", tmp_path / "c.safetensors", "--seed", "1"]
    rows = json.loads(invoke("calibrate", model_file, patients, *options).stdout)["folds"]
    chosen = split_parts([f"p{i}" for i in range(6)], seed=1)[0]
    invoke("score", patients, "-m", model_file, "-o", tmp_path, "--method", "combi", "-q")
    truth, scores = [], []
    for name in sorted(chosen):
        inside = nib.load(patients / f"{name}_t1.nii.gz").get_fdata() > 0
        truth.append((nib.load(patients / f"{name}_seg.nii.gz").get_fdata() > 0)[inside])
        scores.append(nib.load(tmp_path / f"{name}_t1_desc-combi_anomaly.nii.gz").get_fdata(dtype=np.float32)[inside])
    row = next(row for row in rows if row["method"] == "combi")
    assert row["threshold"] == rank(np.concatenate(truth), np.concatenate(scores)).best_threshold
    assert not any(f"{name}_t1" in scan for scan in row["dice"] for name in chosen)
    assert len(row["dice"]) == 6 - len(chosen)


def test_subjects_never_cross_the_split():
    names = [f"s{i % 7}" for i in range(20)]
    parts = split_parts(names, seed=3)
    assert len(parts) == 5
    assert set.union(*parts) == set(names)
    assert sum(map(len, parts)) == 7
    assert split_parts(names[::-1], seed=3) == parts


@pytest.fixture
def wrong_labels(patients, tmp_path):
    """The patients with annotations that lie elsewhere than their balls."""
    folder = shutil.copytree(patients, tmp_path / "wrong")
    for path in folder.glob("*_seg.nii.gz"):
        image = nib.load(path)
        mirrored = np.roll(np.asarray(image.dataobj)[::-1, ::-1, ::-1], 9, axis=2)
        nib.save(nib.Nifti1Image(mirrored, image.affine), path)
    return folder


def calibrated(monkeypatch, capsys, model, folder, output, *options):
    labels = ["--labels", "{subject}_seg.nii.gz", "-o", output]
    return run(monkeypatch, capsys, "calibrate", model, folder, *labels, *options)


def test_thresholds_that_hardly_meet_the_annotations_are_not_stored(
    wrong_labels, model_file, tmp_path, monkeypatch, capsys
):
    out = tmp_path / "c.safetensors"
    code, said = calibrated(monkeypatch, capsys, model_file, wrong_labels, out)
    assert code == 4
    assert re.search(r"expected a Dice of at least 0.1 on the other subjects, got 0\.0\d \(combi\); nothing", said.err)
    assert not out.exists()
    code, said = calibrated(monkeypatch, capsys, model_file, wrong_labels, out, "--force")
    assert code == 0
    assert "warning: masks by these thresholds hardly meet the annotations" in said.err
    assert load_checkpoint(out).facts.labelled is not None


@pytest.mark.full
def test_fewer_folds_and_a_threshold_from_one_subject_are_warnings(patients, model_file, tmp_path, monkeypatch, capsys):
    code, said = calibrated(monkeypatch, capsys, model_file, patients, tmp_path / "c.safetensors", "--folds", "5")
    assert code == 0
    assert "warning: --folds 5 gave 4: the others have no subject, or no annotated voxel\n" in said.err
    assert "each threshold was chosen on" not in said.err  # two of six subjects are the first fifth


def test_a_threshold_from_one_subject_is_a_warning(patients, model_file, tmp_path, monkeypatch, capsys):
    three = tmp_path / "three"
    three.mkdir()
    for number in range(3):
        for kind in ("t1", "seg"):
            shutil.copy(patients / f"p{number}_{kind}.nii.gz", three)
    code, said = calibrated(monkeypatch, capsys, model_file, three, tmp_path / "c.safetensors")
    assert code == 0
    assert "warning: each threshold was chosen on one subject;" in said.err
