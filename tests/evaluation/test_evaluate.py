"""evaluate: tables and figures, in any order of the files; the model that it takes if none is named."""

import json
import shutil

import numpy as np
import pytest
from support.commands import invoke, names, rows, run
from support.phantoms import AFFINE, SHAPE, save
from support.places import SAMPLES

from vae_loc.model.network import load_model
from vae_loc.scans.volume import read_volume


def test_evaluate_writes_json_csv_and_figures(evaluated):
    folder, result = evaluated
    figures = {f"{name}.{kind}" for name in ("roc", "pr", "dice", "subjects", "froc") for kind in ("png", "svg")}
    assert names(folder) == figures | {"evaluation.json", "evaluation.csv"}
    assert 0 <= result.stdout.index("Findings, at 0.1 false ones") < result.stdout.index("AUROC")
    summary = json.loads((folder / "evaluation.json").read_text())
    assert summary["pixel"]["rec-error"]["per_subject"]["auroc"]["mean"] > 0.9
    assert set(summary["pixel"]) >= {"intensity", "negative-intensity", "place-z", "combi"}
    assert summary["pixel"]["constant inside the brain"]["paper_protocol"]["auroc"] > 0.6


@pytest.mark.full
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
    # one patient has a dark place in two parts, which are two findings (design [96])
    assert sum(int(row["false_findings 0.1"]) > 0 for row in table if row["map"] == "rec-error") <= 1
    for row in table:
        cells = [row[name] for name in columns]
        if row["map"] == "rec-error":
            assert cells == (["0", "0", ""] if row["subject"] == "p5" else ["1", "1", "1"])
            assert bool(row["dice_findings 0.1"]) == (row["subject"] != "p5")
        if row["map"] == "intensity":
            assert cells[1:] == ["", ""]


def test_a_volume_without_content_among_the_patients_is_listed(patients, small_model, tmp_path):
    bad = save(tmp_path / "bad_t1.nii.gz", np.zeros(SHAPE, np.float32), AFFINE)
    save(tmp_path / "bad_seg.nii.gz", np.zeros(SHAPE, np.uint8), AFFINE)
    options = ["--labels", "{subject}_seg.nii.gz", "-m", small_model, "-o", tmp_path / "e"]
    result = invoke("evaluate", patients / "p0_t1.nii.gz", bad, *options, "--json", code=3)
    assert "bad_t1.nii.gz" in result.stderr
    assert json.loads(result.stdout) == json.loads((tmp_path / "e" / "evaluation.json").read_text())
    assert read_volume(patients / "p0_t1.nii.gz").data.any()


@pytest.fixture
def lesions(tmp_path):
    """A patient's T1 and FLAIR with their annotation, in a folder."""
    folder = tmp_path / "patients"
    folder.mkdir()
    for name in ("t1", "flair", "lesions"):
        shutil.copy(SAMPLES / f"patient07_{name}.nii.gz", folder)
    return folder


@pytest.fixture
def evaluate(tmp_path, monkeypatch, capsys):
    """Evaluate scans; return exit code, stderr and the record, None if there is none."""

    def evaluated(*arguments, labels="{subject}_lesions.nii.gz"):
        record = tmp_path / "out/evaluation.json"
        code, said = run(monkeypatch, capsys, "evaluate", *arguments, "--labels", labels, "-o", record.parent)
        return code, said.err, json.loads(record.read_text()) if record.exists() else None

    return evaluated


@pytest.mark.full
def test_the_model_is_the_one_of_the_names(lesions, evaluate):
    code, _, record = evaluate(lesions / "patient07_flair.nii.gz")
    assert code == 0
    assert record["model"] == {"sha256": load_model("flair").digest, "contrast": "flair"}


def test_scans_of_several_contrasts_are_refused_in_one_line(lesions, evaluate):
    code, said, record = evaluate(lesions)
    assert (code, record) == (2, None)
    assert said == (
        "vae-loc: --contrast: expected scans of one contrast, found flair, t1; evaluate them one contrast at a time: "
        "name the scans of one, or a folder with --contrast t1\n"
    )


@pytest.mark.full
def test_contrast_takes_its_scans_from_a_folder(lesions, evaluate):
    code, _, record = evaluate(lesions, "--contrast", "t1")
    assert code == 0
    assert record["model"]["contrast"] == "t1"
    assert [scan["scan"] for scan in record["scans"]] == [str(lesions / "patient07_t1.nii.gz")]


def test_healthy_scans_of_another_contrast_are_refused(lesions, evaluate):
    code, said, _ = evaluate(lesions / "patient07_t1.nii.gz", "--healthy", SAMPLES / "patient07_t2.nii.gz")
    assert code == 2
    assert "found t1, t2" in said


@pytest.mark.full
def test_a_scan_without_a_contrast_in_its_name_is_told_by_its_intensities(lesions, evaluate):
    shutil.move(lesions / "patient07_flair.nii.gz", lesions / "patient07_x.nii.gz")
    code, said, record = evaluate(lesions / "patient07_x.nii.gz")
    assert code == 0
    assert "by its intensities it was taken for flair. If that is wrong, give --contrast" in said
    assert record["model"]["contrast"] == "flair"


def test_a_contrast_without_a_shipped_model_is_refused(lesions, evaluate):
    code, said, _ = evaluate(lesions / "patient07_t1.nii.gz", "--contrast", "pd")
    assert code == 5
    assert "pd: expected a contrast of a shipped model (flair, t1, t2); give one with -m" in said
