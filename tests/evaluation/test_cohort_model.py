"""Which model an evaluation gets when none is named: by --contrast, names, else intensities; one for all scans."""

import json
import shutil

import pytest
from support.commands import run
from support.places import SAMPLES

from vae_loc.model.network import load_model


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


def test_contrast_takes_its_scans_from_a_folder(lesions, evaluate):
    code, _, record = evaluate(lesions, "--contrast", "t1")
    assert code == 0
    assert record["model"]["contrast"] == "t1"
    assert [scan["scan"] for scan in record["scans"]] == [str(lesions / "patient07_t1.nii.gz")]


def test_healthy_scans_of_another_contrast_are_refused(lesions, evaluate):
    code, said, _ = evaluate(lesions / "patient07_t1.nii.gz", "--healthy", SAMPLES / "patient07_t2.nii.gz")
    assert code == 2
    assert "found t1, t2" in said


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
