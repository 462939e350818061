"""evaluate: tables and figures, undefined is undefined, order does not matter."""

import json

import numpy as np
from support.commands import invoke, names, rows
from support.phantoms import AFFINE, SHAPE, save

from vae_loc.scans.volume import read_volume


def test_evaluate_writes_json_csv_and_figures(evaluated):
    folder, result = evaluated
    figures = {
        f"{name}.{kind}" for name in ("roc", "pr", "dice", "subjects", "froc", "reliability") for kind in ("png", "svg")
    }
    assert names(folder) == figures | {"evaluation.json", "evaluation.csv"}
    assert 0 <= result.stdout.index("Findings, at 0.1 false ones") < result.stdout.index("AUROC")
    summary = json.loads((folder / "evaluation.json").read_text())
    assert summary["pixel"]["rec-error"]["per_subject"]["auroc"]["mean"] > 0.9
    assert set(summary["pixel"]) >= {"intensity", "negative-intensity", "place-z", "combi"}
    assert summary["pixel"]["constant inside the brain"]["paper_protocol"]["auroc"] > 0.6


def test_the_order_of_the_files_does_not_matter(patients, model_file, tmp_path):
    files = [patients / f"p{number}_t1.nii.gz" for number in (0, 1)]
    for folder, given in (("a", files), ("b", files[::-1])):
        options = ["--labels", "{subject}_seg.nii.gz", "-m", model_file, "-o", tmp_path / folder]
        invoke("evaluate", *given, *options)
    for name in ("evaluation.csv", "evaluation.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_the_table_has_the_findings_of_each_map_at_the_default_rate(evaluated):
    table = rows(evaluated[0] / "evaluation.csv")
    columns = ("lesions", "lesions_found 0.1", "lesion_rank")
    assert sum(int(row["false_findings 0.1"]) for row in table if row["map"] == "rec-error") <= 1
    for row in table:
        cells = [row[name] for name in columns]
        if row["map"] == "rec-error":
            assert cells == (["0", "0", ""] if row["subject"] == "p5" else ["1", "1", "1"])
            assert bool(row["dice_findings 0.1"]) == (row["subject"] != "p5")
        if row["map"] == "intensity":
            assert cells[1:] == ["", ""]


def test_a_volume_without_content_among_the_patients_is_listed(patients, model_file, tmp_path):
    bad = save(tmp_path / "bad_t1.nii.gz", np.zeros(SHAPE, np.float32), AFFINE)
    save(tmp_path / "bad_seg.nii.gz", np.zeros(SHAPE, np.uint8), AFFINE)
    options = ["--labels", "{subject}_seg.nii.gz", "-m", model_file, "-o", tmp_path / "e"]
    result = invoke("evaluate", patients / "p0_t1.nii.gz", bad, *options, code=3)
    assert "bad_t1.nii.gz" in result.output
    assert read_volume(patients / "p0_t1.nii.gz").data.any()
