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
from support.bids import SCANS


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
    assert len(list(derivatives.glob("sub-*/figures/*.png"))) == len(SCANS)


def test_sources_lead_to_the_raw_dataset(derivatives, bids_dataset):
    links = json.loads((derivatives / "dataset_description.json").read_text())["DatasetLinks"]
    assert (derivatives / links["raw"]).resolve() == bids_dataset.resolve()
