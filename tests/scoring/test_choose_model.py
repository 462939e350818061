"""Which shipped model a scan gets when neither the user nor its name says."""

import shutil
from pathlib import Path

import pytest

from vae_loc.model.checkpoint import load_checkpoint
from vae_loc.model.shipped import find_model
from vae_loc.preprocessing.brain_mask import find_brain
from vae_loc.preprocessing.pseudo_contrast import appearance_of
from vae_loc.scans.cases import Case
from vae_loc.scans.volume import read_volume
from vae_loc.scoring.choose_model import contrast_by_tissue, model_of
from vae_loc.scoring.locate import canonical_of

SAMPLES = Path(__file__).parents[1] / "sample_data"


@pytest.mark.parametrize("contrast", ["t1", "t2", "flair"])
def test_a_scan_without_a_contrast_in_its_name_is_told_by_its_tissues(tmp_path, contrast):
    shutil.copy(SAMPLES / f"patient07_{contrast}.nii.gz", tmp_path / "scan.nii.gz")
    said: list[str] = []
    scan = read_volume(tmp_path / "scan.nii.gz")
    name = model_of(Case(scan.path, "x", None), scan, lambda: find_brain(scan, "auto"), contrast=None, say=said.append)
    assert name == contrast
    assert "by its intensities" in said[0]


@pytest.mark.parametrize("contrast", ["t2", "flair"])
def test_synthesized_contrasts_are_told_too(contrast):
    scan = read_volume(SAMPLES / "IXI012_t1.nii.gz")
    atlas = load_checkpoint(find_model("t1"))
    canonical = canonical_of(scan, find_brain(scan, SAMPLES / "IXI012_brainmask.nii.gz")[0], atlas)
    for seed in range(3):
        look = appearance_of("IXI012", contrast, seed=seed)(canonical)
        assert contrast_by_tissue(look, atlas.places["template"]) == contrast
