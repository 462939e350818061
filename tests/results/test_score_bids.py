"""A BIDS dataset in, a valid dataset of derivatives out."""

import csv
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from corpus import GOOD
from test_bad_input import run

from vae_loc.errors import UnusableInput
from vae_loc.scans.bids_dataset import find_scans

SCANS = (
    "sub-01/anat/sub-01_T1w.nii",
    "sub-01/anat/sub-01_FLAIR.nii",
    "sub-02/ses-1/anat/sub-02_ses-1_acq-mprage_run-1_T1w.nii",
    "sub-02/ses-2/anat/sub-02_ses-2_T1w.nii",
)


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    place = tmp_path_factory.mktemp("bids") / "raw"
    for scan in SCANS:
        (place / scan).parent.mkdir(parents=True, exist_ok=True)
        (place / scan).write_bytes(GOOD)
    (place / "sub-01/anat/sub-01_inplaneT1.nii").write_bytes(b"")
    (place / "derivatives/other/sub-01/anat").mkdir(parents=True)
    (place / "derivatives/other/sub-01/anat/sub-01_desc-preproc_T1w.nii").write_bytes(b"")
    (place / "dataset_description.json").write_text('{"Name": "phantoms", "BIDSVersion": "1.10.0"}')
    return place


@pytest.fixture(scope="module")
def derivatives(raw, small_model):
    """The whole dataset, by participant and then by group."""
    place = raw / "derivatives" / "vae-loc"
    for level in ("participant", "group"):
        options = ["--contrast", "all", "-m", small_model, *(["--report"] if level == "participant" else [])]
        command = [sys.executable, "-m", "vae_loc", "bids", raw, place, level, *options]
        done = subprocess.run([*map(str, command)], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    return place


def validated(place):
    binary = Path(sys.executable).with_name("bids-validator-deno")
    if not binary.exists():
        pytest.skip("bids-validator-deno is not installed")
    said = subprocess.run([binary, place, "--format", "json"], capture_output=True, text=True).stdout
    issues = json.loads(said)["issues"]["issues"]
    return {issue["code"] for issue in issues if issue["severity"] == "error"}, {issue["code"] for issue in issues}


def test_the_official_validator_finds_no_error(derivatives):
    assert validated(derivatives) == (set(), {"TOO_FEW_AUTHORS"})


def test_the_validator_would_find_one(derivatives, tmp_path):
    shutil.copytree(derivatives, tmp_path / "copy")
    (tmp_path / "copy" / ".bidsignore").unlink()
    assert validated(tmp_path / "copy")[0] >= {"NOT_INCLUDED"}


def test_the_page_of_the_group_leads_to_every_scan_s_page(derivatives):
    links = re.findall(r'href="([^"]+)"', (derivatives / "cohort.html").read_text())
    assert len(links) == len(SCANS)
    assert all((derivatives / link).is_file() for link in links)


def test_every_scan_has_its_derivatives(derivatives, raw):
    for scan in SCANS:
        folder, name = derivatives / Path(scan).parent, Path(scan).name.removesuffix(".nii")
        source, _, suffix = name.rpartition("_")
        other = "" if suffix == "T1w" else suffix
        label = f"label-anomaly_desc-{other}" if other else "label-anomaly"
        share = nib.load(folder / f"{source}_space-orig_{label}_probseg.nii.gz")
        heat = nib.load(folder / f"{source}_space-orig_desc-{other}combi_anomaly.nii.gz").get_fdata()
        mask = nib.load(folder / f"{source}_{label}_mask.nii.gz").get_fdata()
        brain = nib.load(folder / f"{source}_desc-{other}brain_mask.nii.gz").get_fdata()
        values = share.get_fdata()
        assert np.allclose(share.affine, nib.load(raw / scan).affine)
        assert 0 <= values.min() < 0.2 < 0.9 < values.max() <= 1
        assert set(np.unique(brain)) == {0, 1}
        assert not values[brain == 0].any()
        assert (values[mask > 0] >= 0.94).all()
        order = np.argsort(heat[brain > 0])
        assert (np.diff(values[brain > 0][order]) >= 0).all()
        sidecar = json.loads((folder / f"{source}_{label}_mask.json").read_text())
        assert sidecar["Sources"] == [f"bids:raw:{scan}"]
        assert sidecar["Type"] == "Lesion"
    assert len(list(derivatives.glob("sub-*/figures/*.png"))) == len(SCANS)


def test_sources_lead_to_the_raw_dataset(derivatives, raw):
    links = json.loads((derivatives / "dataset_description.json").read_text())["DatasetLinks"]
    assert (derivatives / links["raw"]).resolve() == raw.resolve()


def test_the_group_has_a_row_for_every_scan(derivatives, raw, small_model, monkeypatch, capsys):
    def table():
        with open(derivatives / "cohort.csv", newline="") as file:
            return list(csv.DictReader(file))

    assert [(row["subject"], row["status"]) for row in table()] == [("sub-01", "done")] * 2 + [("sub-02", "done")] * 2
    assert all(float(row["elbo"]) for row in table())
    mask = next(derivatives.glob("sub-02/ses-2/anat/*label-anomaly_mask.nii.gz"))
    content = mask.read_bytes()
    mask.write_bytes(content[:-1])
    assert run(monkeypatch, capsys, "bids", raw, derivatives, "group")[0] == 3
    assert [row["status"] for row in table()] == ["done", "done", "failed"]
    mask.write_bytes(content)


def test_participants_are_named_as_bids_apps_name_them(raw, tmp_path, small_model, monkeypatch, capsys):
    arguments = ["bids", raw, tmp_path, "participant", "-m", small_model, "--quiet"]
    assert run(monkeypatch, capsys, *arguments, "--participant_label", "01", "sub-02", "--session-label", "2")[0] == 0
    assert [path.name for path in tmp_path.glob("sub-*")] == ["sub-02"]
    assert run(monkeypatch, capsys, *arguments, "--participant-label", "01", "02")[0] == 0
    assert {path.name for path in tmp_path.glob("sub-*")} == {"sub-01", "sub-02"}
    made = {path: path.stat().st_mtime_ns for path in tmp_path.glob("sub-*/**/*_scores.json")}
    assert len(made) == 3
    assert run(monkeypatch, capsys, *arguments, "--skip-existing")[0] == 0
    assert {path: path.stat().st_mtime_ns for path in made} == made


def test_scans_are_found_by_participant_session_and_contrast(raw):
    def names(**options):
        return [case.scan.name for case in find_scans(raw, **{"contrast": "t1"} | options)]

    assert len(names(contrast=None)) == 4
    assert names(contrast="flair") == ["sub-01_FLAIR.nii"]
    assert names(participants=["02"], sessions=["ses-2"]) == ["sub-02_ses-2_T1w.nii"]
    assert names(participants=["sub-01"]) == ["sub-01_T1w.nii"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"participants": ["03"]}, "sub-03, found none"),
        ({"contrast": "t2"}, "found no T2w"),
        ({"sessions": ["9"]}, "found no"),
    ],
)
def test_what_a_dataset_does_not_have_is_named(raw, options, words):
    with pytest.raises(UnusableInput, match=words):
        find_scans(raw, **{"contrast": "t1"} | options)


def test_a_folder_that_is_no_dataset_is_refused(tmp_path, monkeypatch, capsys):
    code, said = run(monkeypatch, capsys, "bids", tmp_path, tmp_path / "out", "participant")
    assert code == 4
    assert "dataset_description.json: found none" in said.err
    code, said = run(monkeypatch, capsys, "bids", tmp_path, tmp_path / "out", "participant", "01")
    assert code == 2
    assert not (tmp_path / "out").exists()
