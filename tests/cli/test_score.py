"""score and segment do what the README says."""

import json

import nibabel as nib
import numpy as np
import pytest
from support.commands import invoke, names
from support.marks import full
from support.phantoms import AFFINE, SHAPE, phantom, save

from vae_loc.model.checkpoint import find_model, load_checkpoint
from vae_loc.vocabulary import METHODS


def test_segment_writes_maps_masks_scores_and_pictures(tmp_path, small_model, scan):
    listed = invoke("segment", scan, "-m", small_model, "-o", tmp_path / "out", "--method", "all").stdout.split()
    maps = {method.replace("-", "") for method in METHODS}
    kinds = ("anomaly.nii.gz", "anomaly.png", "mask.nii.gz", "dseg.nii.gz", "dseg.tsv")
    expected = {f"pat_t1_desc-{n}_{kind}" for n in maps for kind in kinds}
    assert names(tmp_path / "out") == expected | {"pat_t1_scores.json"}
    assert sorted(listed) == sorted(str(path) for path in (tmp_path / "out").iterdir())


@pytest.mark.parametrize("said", [True, full(False)])
def test_the_model_can_come_from_the_environment(tmp_path, small_model, scan, monkeypatch, said):
    """Without the variable the scan's name chooses the shipped model."""
    monkeypatch.delenv("VAE_LOC_MODEL", raising=False)
    if said:
        monkeypatch.setenv("VAE_LOC_MODEL", str(small_model))
    invoke("score", scan, "-o", tmp_path / "out")
    used = json.loads((tmp_path / "out" / "pat_t1_scores.json").read_text())["model"]["sha256"]
    assert used == load_checkpoint(small_model if said else find_model("t1")).digest


def test_one_volume_of_a_4d_scan_can_be_chosen(tmp_path, small_model):
    save(tmp_path / "f_t1.nii", np.stack([phantom(AFFINE, SHAPE)[0]] * 2, -1), AFFINE)
    invoke("score", tmp_path / "f_t1.nii", "-m", small_model, "-o", tmp_path, "--volume", "1")
    assert nib.load(tmp_path / "f_t1_desc-combi_anomaly.nii.gz").shape == SHAPE
