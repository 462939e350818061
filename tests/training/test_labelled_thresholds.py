"""Thresholds of annotated subjects: of one fifth, reported on the others."""

import json

import nibabel as nib
import numpy as np
from support.commands import invoke

from vae_loc.evaluation.metrics import rank
from vae_loc.training.labelled_thresholds import split_parts


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
