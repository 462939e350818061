"""The files of one scan."""

import json

import nibabel as nib
import numpy as np
from support.commands import invoke


def test_scoring_twice_gives_the_same_bytes(tmp_path, model_file, scan):
    for folder in ("a", "b"):
        invoke("score", scan, "-m", model_file, "-o", tmp_path / folder, "--method", "all")
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes(), path.name


def test_a_threshold_marks_exactly_what_lies_above(tmp_path, model_file, scan):
    invoke("segment", scan, "-m", model_file, "-o", tmp_path / "o", "--threshold", "0", "--min-size", "0")
    scores = nib.load(tmp_path / "o/pat_t1_desc-combi_anomaly.nii.gz").get_fdata()
    mask = nib.load(tmp_path / "o/pat_t1_desc-combi_mask.nii.gz").get_fdata()
    assert np.array_equal(mask > 0, scores > 0)


def test_raw_writes_the_bare_score_and_percentile_a_second_map(tmp_path, model_file, scan):
    invoke("segment", scan, "-m", model_file, "-o", tmp_path / "n", "--percentile")
    invoke("segment", scan, "-m", model_file, "-o", tmp_path / "r", "--raw")
    normal, raw = (nib.load(tmp_path / f / "pat_t1_desc-combi_anomaly.nii.gz").get_fdata() for f in ("n", "r"))
    assert not np.allclose(normal, raw)
    percentile = nib.load(tmp_path / "n/pat_t1_desc-combi_percentile.nii.gz").get_fdata()
    assert 0 <= percentile.min() <= percentile.max() <= 100
    thresholds = [
        json.loads((tmp_path / f / "pat_t1_scores.json").read_text())["masks"]["combi"]["threshold"] for f in ("n", "r")
    ]
    assert thresholds[0] != thresholds[1]
