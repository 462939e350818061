"""A calibrated model holds thresholds that segment uses: of one fifth of the annotated, reported on the others."""

import json
import re
import shutil

import nibabel as nib
import numpy as np
import pytest
from support.commands import invoke, run

from vae_loc.evaluation.metrics import rank
from vae_loc.model.checkpoint import healthy_threshold, load_checkpoint
from vae_loc.training.calibrate import split_parts
from vae_loc.vocabulary import METHODS

LABELS = ["--labels", "{subject}_seg.nii.gz"]
SEED = 1  # of which the fifth has annotated voxels


@pytest.fixture(scope="module")
def calibrated(patients, small_model, tmp_path_factory):
    """A model calibrated on the six patients, the rows of its table, and the lines on stderr."""
    out = tmp_path_factory.mktemp("calibrated") / "c.safetensors"
    before = small_model.read_bytes()
    options = [*LABELS, "--seed", SEED, "-o", out, "--json"]
    result = invoke("calibrate", small_model, patients, *options)
    assert small_model.read_bytes() == before
    return out, json.loads(result.stdout)["maps"], result.stderr


@pytest.fixture
def three(patients, tmp_path):
    """Three of the patients."""
    folder = tmp_path / "three"
    folder.mkdir()
    for number in range(3):
        for kind in ("t1", "seg"):
            shutil.copy(patients / f"p{number}_{kind}.nii.gz", folder)
    return folder


def test_calibrate_stores_thresholds_that_segment_uses(patients, calibrated, tmp_path):
    out, rows, _ = calibrated
    labelled = load_checkpoint(out).facts.labelled
    assert labelled.thresholds == {row["method"]: row["threshold"] for row in rows}
    assert (labelled.calibration_subjects, labelled.reported_subjects) == (2, 4)
    assert labelled.dice["rec-error"][0] > 0.5
    masks = {}
    for name, options in {
        "own": ["--method", "rec-error"],
        "fpr": ["--fpr", "0.01"],
        "3": ["--threshold", "3"],
    }.items():
        invoke("segment", patients / "p1_t1.nii.gz", "-m", out, "-o", tmp_path / name, *options)
        masks |= {name: json.loads((tmp_path / name / "p1_t1_scores.json").read_text())["masks"]}
    assert masks["own"]["rec-error"]["threshold"] == labelled.thresholds["rec-error"]
    assert masks["own"]["rec-error"]["threshold_from"].startswith("labelled calibration")
    assert masks["fpr"]["combi"]["threshold_from"] == "healthy fpr 0.01"
    assert masks["3"]["combi"]["threshold"] == 3


def test_the_threshold_is_the_best_of_the_fifth_and_is_reported_on_the_others(
    patients, small_model, calibrated, tmp_path
):
    chosen = split_parts([f"p{i}" for i in range(6)], seed=SEED)[0]
    scans = [patients / f"{name}_t1.nii.gz" for name in sorted(chosen)]
    invoke("score", *scans, "-m", small_model, "-o", tmp_path, "--method", "combi", "-q")
    truth, scores = [], []
    for scan in scans:
        name = scan.name.removesuffix("_t1.nii.gz")
        inside = nib.load(scan).get_fdata() > 0
        truth.append((nib.load(patients / f"{name}_seg.nii.gz").get_fdata() > 0)[inside])
        scores.append(nib.load(tmp_path / f"{name}_t1_desc-combi_anomaly.nii.gz").get_fdata(dtype=np.float32)[inside])
    row = next(row for row in calibrated[1] if row["method"] == "combi")
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


def test_thresholds_that_hardly_meet_the_annotations_are_not_stored(three, small_model, tmp_path, monkeypatch, capsys):
    """The annotations lie elsewhere than the balls."""
    for path in three.glob("*_seg.nii.gz"):
        image = nib.load(path)
        mirrored = np.roll(np.asarray(image.dataobj)[::-1, ::-1, ::-1], 9, axis=2)
        nib.save(nib.Nifti1Image(mirrored, image.affine), path)
    out = tmp_path / "c.safetensors"
    code, said = run(monkeypatch, capsys, "calibrate", small_model, three, *LABELS, "-o", out)
    assert code == 4
    assert re.search(r"expected a Dice of at least 0.1 on the other subjects, got 0\.0\d \(combi\); nothing", said.err)
    assert not out.exists()
    code, said = run(monkeypatch, capsys, "calibrate", small_model, three, *LABELS, "-o", out, "--force")
    assert code == 0
    assert "warning: masks by these thresholds hardly meet the annotations" in said.err
    assert "warning: each threshold was chosen on one subject;" in said.err
    assert load_checkpoint(out).facts.labelled is not None


def test_a_threshold_from_two_subjects_is_no_warning(calibrated):
    assert "each threshold was chosen on" not in calibrated[2]  # two of six subjects are the first fifth


@pytest.mark.full
def test_a_threshold_from_one_subject_is_a_warning(three, small_model, tmp_path, monkeypatch, capsys):
    code, said = run(monkeypatch, capsys, "calibrate", small_model, three, *LABELS, "-o", tmp_path / "c.safetensors")
    assert code == 0
    assert "warning: each threshold was chosen on one subject;" in said.err


def test_healthy_calibration_on_the_held_out_scans_changes_little(healthy_folder, small_model, tmp_path):
    """They are the ones that training calibrated on; their places are blended with themselves."""
    held_out = json.loads(small_model.with_suffix(".training.json").read_text())["holdout_subjects"]
    scans = [healthy_folder / f"{name}_t1.nii.gz" for name in held_out]
    out = tmp_path / "h.safetensors"
    invoke("calibrate", small_model, *[a for scan in scans for a in ("--healthy", scan)], "-o", out)
    before, after = load_checkpoint(small_model), load_checkpoint(out)
    for name in before.weights:
        assert np.array_equal(before.weights[name], after.weights[name])
    assert np.array_equal(before.reference["template"], after.reference["template"])
    for name in METHODS:
        old, new = (np.array(model.facts.healthy.raw_maps[name]) for model in (before, after))
        assert np.array_equal(old, new)  # bare scores know no place
        assert healthy_threshold(after, name, 0.05) == pytest.approx(healthy_threshold(before, name, 0.05), rel=0.25)


def test_each_healthy_scan_is_read_once(healthy_folder, small_model, tmp_path, voxel_reads):
    scans = sorted(healthy_folder.iterdir())[:2]
    options = [option for scan in scans for option in ("--healthy", scan)]
    invoke("calibrate", small_model, *options, "-o", tmp_path / "h.safetensors", "--quiet")
    assert voxel_reads == dict.fromkeys(scans, 1)


def test_the_model_itself_is_never_overwritten(small_model, healthy_folder, monkeypatch, capsys):
    before = small_model.read_bytes()
    arguments = ["calibrate", small_model, "--healthy", healthy_folder, "-o", small_model]
    code, said = run(monkeypatch, capsys, *arguments)
    assert code == 2
    assert said.err == "vae-loc: -o: expected a new file, got the model itself; it is never changed\n"
    assert small_model.read_bytes() == before
