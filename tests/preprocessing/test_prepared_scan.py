"""A scan that is kept gives what the scan itself gives."""

import numpy as np
import pytest
from support.phantoms import AFFINE, SHAPE, phantom, save
from support.scans import opened

from vae_loc.preprocessing.canonical import all_from_canonical, canonical_brain, to_canonical
from vae_loc.preprocessing.prepared_scan import prepare_scan
from vae_loc.system.array_store import ArrayStore


@pytest.fixture
def store():
    with ArrayStore() as store:
        yield store


@pytest.fixture
def scan_opened(scan):
    return opened(scan)


@pytest.mark.parametrize("image_size", [32, 64])
@pytest.mark.parametrize("contrast", ["t1", "t2"])
def test_its_canonical_brain_is_that_of_the_scan(scan_opened, store, image_size, contrast):
    kept = prepare_scan(scan_opened, image_size=image_size, store=store)
    found = canonical_brain(kept.smooth, image_size=image_size, contrast=contrast)
    expected = to_canonical(scan_opened.volume, scan_opened.brain, image_size=image_size, contrast=contrast)
    assert np.array_equal(found.data, expected.data)
    assert np.array_equal(found.mask, expected.mask)
    assert np.array_equal(found.grid.affine, expected.grid.affine)


def test_its_brain_is_that_of_the_scan(scan_opened, store):
    kept = prepare_scan(scan_opened, image_size=64, store=store)
    assert np.array_equal(kept.brain, scan_opened.brain)
    assert kept.path == scan_opened.volume.path
    assert kept.packed.nbytes == -(-scan_opened.brain.size // 8)


def test_a_map_comes_back_onto_the_scan_s_own_grid(scan_opened, store):
    kept = prepare_scan(scan_opened, image_size=64, store=store)
    canonical = canonical_brain(kept.smooth)
    (found,) = kept.on_own_grid([canonical.data], canonical)
    (expected,) = all_from_canonical([canonical.data], canonical, scan_opened.volume.affine, scan_opened.brain)
    assert np.array_equal(found, expected)


def test_missing_voxels_are_left_out_as_for_the_scan(tmp_path, store):
    data = phantom(AFFINE, SHAPE)[0]
    data[20, 20:24, 18] = np.nan
    scan = opened(save(tmp_path / "n_t1.nii", data, AFFINE))
    kept = prepare_scan(scan, image_size=64, store=store)
    expected = to_canonical(scan.volume, scan.brain)
    assert np.array_equal(canonical_brain(kept.smooth).data, expected.data)
