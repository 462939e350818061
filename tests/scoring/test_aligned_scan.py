"""A scan lies on the canonical grid as healthy brains do, also where its mask leaves out a part of the brain."""

import numpy as np
import pytest
from support.phantoms import AFFINE, SHAPE, phantom, save

from vae_loc.preprocessing.open_scan import open_scan
from vae_loc.preprocessing.pose import outline_dice
from vae_loc.scans.cases import find_cases
from vae_loc.scoring.aligned_scan import canonical_of


@pytest.fixture
def masked(tmp_path):
    """A phantom, and how to give it a mask that holds only what lies above a height in mm."""
    path = save(tmp_path / "a_t1.nii.gz", phantom(AFFINE, SHAPE)[0], AFFINE)

    def cut(above_mm):
        inside = phantom(AFFINE, SHAPE)[1].copy()
        inside[:, :, : max(0, round(above_mm / 4 + SHAPE[2] / 2))] = False
        save(tmp_path / "a_brainmask.nii.gz", inside.astype(np.uint8), AFFINE)
        (case,) = find_cases([path])
        return open_scan(case)

    return cut


def off_mm(one, other):
    """Largest distance between the places of the corners of two grids."""
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in one.shape], [1])).reshape(4, -1)
    return np.linalg.norm(((one.affine - other.affine) @ corners)[:3], axis=0).max()


def test_a_mask_without_the_lower_brain_lies_where_the_whole_brain_does(masked, trained):
    whole, upper = (canonical_of(masked(height), trained) for height in (-100, 5))
    assert off_mm(upper.grid, whole.grid) < 1
    assert np.count_nonzero(upper.mask) < 0.6 * np.count_nonzero(whole.mask)
    assert [text for text in upper.warnings if "lacks a part of the brain" in text]
    assert whole.warnings == ()


def test_a_whole_mask_is_not_extracted_again(masked, trained, monkeypatch):
    monkeypatch.setattr("vae_loc.scoring.aligned_scan.with_brain", None)
    assert canonical_of(masked(-100), trained).warnings == ()


@pytest.mark.full
def test_a_brain_of_which_a_part_is_missing_is_said(tmp_path, trained):
    data, _ = phantom(AFFINE, SHAPE)
    data[:, :, : SHAPE[2] // 2 + 2] = 0
    (case,) = find_cases([save(tmp_path / "half_t1.nii.gz", data, AFFINE)])
    canonical = canonical_of(open_scan(case), trained)
    assert outline_dice(canonical.mask, trained.reference["template"]) < 0.88
    assert any("mean brain" in text for text in canonical.warnings)
