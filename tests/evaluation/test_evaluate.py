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
    assert set(summary["pixel"]) >= {"intensity", "negative-intensity", "equalised-intensity", "place-z", "combi"}
    assert summary["pixel"]["constant inside the brain"]["paper_protocol"]["auroc"] > 0.6


def test_maps_on_disk_and_the_order_of_the_files_give_the_same_figures(evaluated, patients, model_file, tmp_path):
    options = ["--method", "all", "--false-findings", 2, "-q"]
    invoke("segment", patients, "-m", model_file, "-o", tmp_path / "maps", *options)
    files = sorted(patients.glob("*_t1.nii.gz"))[::-1]
    options = ["--labels", "{subject}_seg.nii.gz", "-m", model_file, "--maps", tmp_path / "maps", "-o", tmp_path / "e"]
    invoke("evaluate", *files, *options)
    assert (tmp_path / "e/evaluation.csv").read_bytes() == (evaluated[0] / "evaluation.csv").read_bytes()
    first, second = (json.loads((folder / "evaluation.json").read_text()) for folder in (evaluated[0], tmp_path / "e"))
    assert first["pixel"] == second["pixel"]
    assert first["slices"] == second["slices"]
    assert without_healthy(first["findings"]) == without_healthy(second["findings"])


def without_healthy(tables):
    """Return tables of findings without what was measured on healthy scans."""
    points = {name: of["points"] for name, of in tables.items()}
    return {name: [{k: v for k, v in p.items() if "healthy" not in k} for p in of] for name, of in points.items()}


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
