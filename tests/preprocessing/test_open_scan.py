"""Which brain mask counts."""

import json

import nibabel as nib
import numpy as np
import pytest
from support.commands import invoke
from support.phantoms import AFFINE, SHAPE, save
from support.scans import opened


def test_a_sibling_mask_is_used(tmp_path, model_file, scan):
    image = nib.load(scan)
    small = (image.get_fdata() > 0) & (np.arange(36) < 18)
    save(tmp_path / "pat_brainmask.nii.gz", small.astype(np.uint8), image.affine)
    invoke("score", scan, "-m", model_file, "-o", tmp_path / "o")
    assert json.loads((tmp_path / "o/pat_t1_scores.json").read_text())["brain_mask"] == "file"
    assert not nib.load(tmp_path / "o/pat_t1_desc-combi_anomaly.nii.gz").get_fdata()[:, :, 18:].any()


def test_the_mask_asked_for_counts_before_the_one_beside_the_scan(tmp_path, scan):
    beside, other = np.zeros(SHAPE, np.uint8), np.zeros(SHAPE, np.uint8)
    beside[10:20, 10:20, 10:20], other[12:18, 12:18, 12:18] = 1, 1
    save(tmp_path / "pat_brainmask.nii.gz", beside, AFFINE)
    given = save(tmp_path / "m.nii.gz", other, AFFINE)
    found = {how: opened(scan, brain_mask=how) for how in (None, given, "auto", "none")}
    assert {how: one.brain_source for how, one in found.items()} == {
        None: "file",
        given: "file",
        "auto": "skull-stripped",
        "none": "none",
    }
    assert np.array_equal(found[None].brain, beside > 0)
    assert np.array_equal(found[given].brain, other > 0)
    assert found[given].brain_ml == pytest.approx(6**3 * 64 / 1000)
