"""The figures of one scan."""

import json

import nibabel as nib
import numpy as np
import pytest
from support.commands import invoke, rows

from vae_loc.evaluation.baselines import BASELINES
from vae_loc.evaluation.metrics import rank
from vae_loc.vocabulary import METHODS


def table_of(folder):
    return rows(folder / "evaluation.csv")


def test_the_table_has_a_row_a_subject_and_map(evaluated):
    table = table_of(evaluated[0])
    assert len(table) == 6 * (len(BASELINES) + len(METHODS))
    assert {row["subject"] for row in table} == {f"p{i}" for i in range(6)}


def test_an_empty_annotation_is_undefined_with_its_reason(evaluated):
    for row in (row for row in table_of(evaluated[0]) if row["subject"] == "p5"):
        assert (row["auroc"], row["average_precision"], row["oracle_dice"]) == ("", "", "")
        assert row["undefined"] == "no annotated voxel inside the brain"
    summary = (evaluated[0] / "evaluation.json").read_text()
    assert "NaN" not in summary
    assert json.loads(summary)["pixel"]["combi"]["per_subject"]["auroc"]["subjects"] == 5


def test_per_subject_figures_are_those_of_the_maps_on_disk(evaluated, patients, model_file, tmp_path):
    invoke("score", patients / "p1_t1.nii.gz", "-m", model_file, "-o", tmp_path, "--method", "rec-error", "-q")
    scores = nib.load(tmp_path / "p1_t1_desc-recerror_anomaly.nii.gz").get_fdata(dtype=np.float32)
    brain = nib.load(patients / "p1_t1.nii.gz").get_fdata() > 0
    truth = nib.load(patients / "p1_seg.nii.gz").get_fdata() > 0
    expected = rank(truth[brain], scores[brain])
    row = next(row for row in table_of(evaluated[0]) if (row["subject"], row["map"]) == ("p1", "rec-error"))
    assert float(row["auroc"]) == pytest.approx(expected.auroc, abs=1e-9)
    assert float(row["oracle_dice"]) == pytest.approx(expected.best_dice, abs=1e-9)
