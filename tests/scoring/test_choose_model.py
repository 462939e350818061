"""Which shipped model a scan gets when neither the user nor its name says."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from support.places import SAMPLES
from support.scans import opened

from vae_loc.errors import UnusableModel
from vae_loc.model.network import load_model
from vae_loc.preprocessing.open_scan import open_scan
from vae_loc.preprocessing.pseudo_contrast import appearance_of
from vae_loc.scans.cases import find_cases
from vae_loc.scoring.aligned_scan import canonical_of
from vae_loc.scoring.choose_model import choose_model, contrast_by_intensities
from vae_loc.scoring.score_options import DEFAULTS, ScoreOptions
from vae_loc.scoring.tissue_contrast import tissue_fit


@pytest.fixture
def nameless(tmp_path):
    """Copy a sample to a file whose name says nothing."""

    def copied(contrast):
        shutil.copy(SAMPLES / f"patient07_{contrast}.nii.gz", tmp_path / "scan.nii.gz")
        (case,) = find_cases([tmp_path / "scan.nii.gz"])
        return case

    return copied


@pytest.mark.parametrize("contrast", ["t1", "t2", "flair"])
def test_a_scan_without_a_contrast_in_its_name_is_told_by_its_tissues(nameless, contrast):
    case = nameless(contrast)
    scan = open_scan(case)
    model, notes = choose_model(case, scan, DEFAULTS)
    assert model is load_model(contrast)
    assert "by its intensities" in notes[0]
    assert contrast_by_intensities(scan) == contrast


@pytest.mark.parametrize("contrast", ["t2", "flair"])
def test_synthesized_contrasts_are_told_too(contrast):
    atlas = load_model("t1")
    canonical = canonical_of(opened(SAMPLES / "IXI012_t1.nii.gz"), atlas)
    for seed in range(3):
        look = appearance_of("IXI012", contrast, seed=seed)(canonical)
        assert tissue_fit(look, atlas.reference["template"]).contrast == contrast


def test_the_table_counts_before_the_option_and_the_option_before_the_name(nameless, scan):
    case, opened_scan = nameless("t1"), opened(scan)
    by_name = replace(case, scan=Path("x_t1.nii"))
    for chosen, option, expected in (
        (replace(by_name, contrast="flair"), "t2", "flair"),
        (by_name, "t2", "t2"),
        (by_name, None, "t1"),
    ):
        model, notes = choose_model(chosen, opened_scan, ScoreOptions(contrast=option))
        assert (model.facts.contrast, notes) == (expected, ())


def test_a_model_that_is_named_counts_before_all(nameless, scan, model_file):
    case = replace(nameless("t1"), contrast="flair")
    model, notes = choose_model(case, opened(scan), ScoreOptions(model=str(model_file), contrast="t2"))
    assert (model, notes) == (load_model(model_file), ())


def test_a_contrast_without_a_shipped_model_is_refused(nameless, scan):
    with pytest.raises(UnusableModel, match="pd: expected a contrast of a shipped model"):
        choose_model(replace(nameless("t1"), contrast="pd"), opened(scan), DEFAULTS)
