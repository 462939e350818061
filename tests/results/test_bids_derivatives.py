"""A BIDS dataset in, a valid dataset of derivatives out."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from support.bids import SCANS, write_dataset
from support.commands import names, run
from support.corpus import PACKED
from support.places import ROOT

from vae_loc.results.bids_derivatives import Derivatives


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
    pages = [link for link in links if "desc-person" in link]
    assert (len(links), len(pages)) == (len(SCANS) + 1, 1)  # one person has several contrasts
    assert all((derivatives / link).is_file() for link in links)


def test_every_scan_has_its_derivatives(derivatives, bids_dataset):
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
        assert np.allclose(share.affine, nib.load(bids_dataset / scan).affine)
        assert 0 <= values.min() < 0.2 < 0.9 < values.max() <= 1
        assert set(np.unique(brain)) == {0, 1}
        assert not values[brain == 0].any()
        assert (values[mask > 0] >= 0.94).all()
        order = np.argsort(heat[brain > 0])
        assert (np.diff(values[brain > 0][order]) >= 0).all()
        sidecar = json.loads((folder / f"{source}_{label}_mask.json").read_text())
        assert sidecar["Sources"] == [f"bids:raw:{scan}"]
        assert sidecar["Type"] == "Lesion"
        moved = folder / f"{source}_space-MNI152NLin2009aSym_desc-aligned_{suffix}.json"
        assert json.loads(moved.read_text())["SkullStripped"] is True
    assert len(list(derivatives.glob("sub-*/figures/*.png"))) == len(SCANS)


def test_sources_lead_to_the_raw_dataset(derivatives, bids_dataset):
    links = json.loads((derivatives / "dataset_description.json").read_text())["DatasetLinks"]
    assert (derivatives / links["raw"]).resolve() == bids_dataset.resolve()


@pytest.mark.parametrize("place", [".", "sub-01", "link", "code/vae-loc"])
def test_derivatives_in_the_dataset_are_refused_and_nothing_of_it_changes(
    place, tmp_path, small_model, monkeypatch, capsys
):
    raw = write_dataset(tmp_path / "raw")
    (raw / "README.md").write_text("mine")
    (raw / "link").symlink_to(raw)
    before = {path: path.read_bytes() for path in raw.rglob("*") if path.is_file()}
    code, said = run(monkeypatch, capsys, "bids", raw, raw / place, "participant", "-m", small_model)
    assert code == 4
    assert "which is only read" in said.err
    assert {path: path.read_bytes() for path in raw.rglob("*") if path.is_file()} == before


def test_a_dataset_that_vae_loc_did_not_write_is_refused_as_a_place(
    bids_dataset, tmp_path, small_model, monkeypatch, capsys
):
    described = tmp_path / "out" / "dataset_description.json"
    described.parent.mkdir()
    described.write_text('{"Name": "mine", "GeneratedBy": [{"Name": "fMRIPrep"}]}')
    code, said = run(monkeypatch, capsys, "bids", bids_dataset, tmp_path / "out", "participant", "-m", small_model)
    assert code == 4
    assert "vae-loc did not write" in said.err
    assert "fMRIPrep" in described.read_text()
    assert names(tmp_path / "out") == {described.name}


def test_a_readme_of_the_user_s_stays(bids_dataset, tmp_path, small_model, monkeypatch, capsys):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "README.md").write_text("mine")
    arguments = ["bids", bids_dataset, tmp_path / "out", "participant", "-m", small_model, "--participant-label", "01"]
    for _ in range(2):
        assert run(monkeypatch, capsys, *arguments)[0] == 0
    assert (tmp_path / "out" / "README.md").read_text() == "mine"


def test_two_scans_of_one_name_are_refused_before_the_first(tmp_path, small_model, monkeypatch, capsys):
    raw = write_dataset(tmp_path / "raw")
    (raw / f"{SCANS[0]}.gz").write_bytes(PACKED)
    code, said = run(monkeypatch, capsys, "bids", raw, tmp_path / "out", "participant", "-m", small_model)
    assert code == 4
    assert "would be an output of" in said.err
    assert "sub-01_T1w.nii.gz" in said.err
    assert names(tmp_path / "out") == set()


def test_names_of_maps_with_one_sign_say_so(tmp_path):
    names, scan = Derivatives(tmp_path / "out", tmp_path, polarity="dark"), tmp_path / "sub-1/anat/sub-1_FLAIR.nii"
    assert names.path(scan, "combi", "anomaly.nii.gz").name == "sub-1_space-orig_desc-FLAIRcombidark_anomaly.nii.gz"
    assert names.path(scan, "combi", "mask.nii.gz").name == "sub-1_label-anomaly_desc-FLAIRdark_mask.nii.gz"
    assert names.path(scan, "combi", "dseg.tsv").name == "sub-1_desc-FLAIRfindingsdark_dseg.tsv"


@pytest.mark.skipif(not (ROOT / "docs").is_dir(), reason="needs a checkout")
def test_the_docs_list_every_kind_of_file(derivatives):
    page = (ROOT / "docs" / "how-to" / "cohorts.md").read_text()
    rows = re.findall(r"^\| (`\S*\.\.\._[^|]*) \|", page.partition("| file, beside `sub-01")[2], re.M)
    endings = [name.rpartition("..._")[2] for row in rows for name in re.findall(r"`([^`]+)`", row)]
    listed = {
        endings[i - 1].partition(".")[0] + name if name.startswith(".") else name for i, name in enumerate(endings)
    }
    made = {path.name for path in derivatives.glob("sub-01/**/sub-01_*") if path.is_file() and "FLAIR" not in path.name}
    of_images = {name for name in made if name.endswith(".json") and not name.endswith("_scores.json")}
    assert {name for name in made - of_images if not name.endswith(tuple(listed))} == set()
    assert {name for name in listed if not any(one.endswith(name) for one in made)} == set()


def test_a_figure_that_is_gone_is_made_again(tmp_path, small_model, monkeypatch, capsys):
    raw = write_dataset(tmp_path / "raw")
    arguments = ["bids", raw, tmp_path / "out", "participant", "-m", small_model, "--participant-label", "01"]
    assert run(monkeypatch, capsys, *arguments)[0] == 0
    (figure, *_) = (tmp_path / "out").glob("sub-01/figures/*.png")
    whole = figure.read_bytes()
    figure.unlink()
    assert run(monkeypatch, capsys, *arguments, "--skip-existing")[0] == 0
    assert figure.read_bytes() == whole
