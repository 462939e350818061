"""Which brain mask counts; and a scan that is kept gives what the scan itself gives."""

import json

import nibabel as nib
import numpy as np
import pytest
from support.commands import invoke
from support.phantoms import AFFINE, SHAPE, phantom, save
from support.scans import opened

from vae_loc.preprocessing.canonical import all_from_canonical, smooth_brain, to_canonical
from vae_loc.preprocessing.open_scan import prepare_scan
from vae_loc.system.array_store import ArrayStore


def test_a_sibling_mask_is_used(tmp_path, model_file, scan):
    image = nib.load(scan)
    small = (image.get_fdata() > 0) & (np.arange(36) < 30)
    save(tmp_path / "pat_brainmask.nii.gz", small.astype(np.uint8), image.affine)
    invoke("score", scan, "-m", model_file, "-o", tmp_path / "o")
    assert json.loads((tmp_path / "o/pat_t1_scores.json").read_text())["brain_mask"] == "file"
    assert not nib.load(tmp_path / "o/pat_t1_desc-combi_anomaly.nii.gz").get_fdata()[:, :, 30:].any()


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


@pytest.fixture
def store():
    with ArrayStore() as store:
        yield store


@pytest.fixture
def scan_opened(scan):
    return opened(scan)


@pytest.mark.parametrize("image_size", [32, 64])
@pytest.mark.parametrize("contrast", ["t1", "t2"])
def test_the_canonical_brain_of_a_kept_scan_is_that_of_the_scan(scan_opened, store, image_size, contrast):
    kept = prepare_scan(scan_opened, image_size=image_size, store=store)
    smooth = smooth_brain(scan_opened.volume, scan_opened.brain, image_size=image_size)
    found, expected = (to_canonical(brain, contrast=contrast) for brain in (kept.smooth, smooth))
    assert np.array_equal(found.data, expected.data)
    assert np.array_equal(found.mask, expected.mask)
    assert np.array_equal(found.grid.affine, expected.grid.affine)


def test_the_brain_of_a_kept_scan_is_that_of_the_scan(scan_opened, store):
    kept = prepare_scan(scan_opened, image_size=64, store=store)
    assert np.array_equal(kept.brain, scan_opened.brain)
    assert kept.path == scan_opened.volume.path
    assert kept.packed.nbytes == -(-scan_opened.brain.size // 8)


def test_a_map_comes_back_by_a_kept_scan_onto_the_scan_s_own_grid(scan_opened, store):
    kept = prepare_scan(scan_opened, image_size=64, store=store)
    canonical = to_canonical(kept.smooth)
    (found,) = all_from_canonical([canonical.data], canonical, kept.affine, kept.brain)
    (expected,) = all_from_canonical([canonical.data], canonical, scan_opened.volume.affine, scan_opened.brain)
    assert np.array_equal(found, expected)


def test_missing_voxels_are_left_out_of_a_kept_scan(tmp_path, store):
    data = phantom(AFFINE, SHAPE)[0]
    data[20, 20:24, 18] = np.nan
    scan = opened(save(tmp_path / "n_t1.nii", data, AFFINE))
    kept = prepare_scan(scan, image_size=64, store=store)
    expected = to_canonical(smooth_brain(scan.volume, scan.brain))
    assert np.array_equal(to_canonical(kept.smooth).data, expected.data)
