"""A map lies on the scan's own grid, and depends on the brain alone."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from support.grids import SOME_OR_ALL
from support.marks import full
from support.phantoms import AFFINE, BALL, SHAPE, centred, phantom, save
from support.places import SAMPLES
from support.scans import opened
from threadpoolctl import threadpool_limits

from vae_loc.errors import UnusableModel, UnusableOption
from vae_loc.evaluation.scan_metrics import baseline_maps
from vae_loc.model.facts import rounded
from vae_loc.model.network import Model, load_model
from vae_loc.preprocessing.open_scan import open_scan
from vae_loc.preprocessing.pseudo_contrast import appearance_of
from vae_loc.scans.cases import find_cases
from vae_loc.scans.volume import write_volume
from vae_loc.scoring.aligned_scan import canonical_of
from vae_loc.scoring.locate import choose_model, contrast_by_intensities, locate
from vae_loc.scoring.scan_gate import tissue_fit
from vae_loc.scoring.score_options import DEFAULTS, ScoreOptions
from vae_loc.vocabulary import METHODS


@pytest.mark.parametrize("orientations", **SOME_OR_ALL)
def test_all_orientations_give_the_same_map(tmp_path, trained, orientations):
    image = nib.load(save(tmp_path / "ref_t1.nii.gz", phantom(AFFINE, SHAPE, ball=(20, 10, 5))[0], AFFINE))
    reference = locate(opened(tmp_path / "ref_t1.nii.gz"), trained).maps["combi"]
    for orientation in orientations:
        nib.save(image.as_reoriented(orientation), tmp_path / "t_t1.nii")
        found = locate(opened(tmp_path / "t_t1.nii"), trained).maps["combi"]
        expected = nib.orientations.apply_orientation(reference, orientation)
        assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.999


def test_the_map_is_zero_outside_the_brain_and_finite(scan, trained):
    found = locate(opened(scan), trained)
    assert np.isfinite(found.maps["combi"]).all()
    assert not found.maps["combi"][~found.brain].any()
    assert found.maps["combi"][found.brain].min() >= 0


@pytest.mark.parametrize("factor", [1e6, full(1e-6)])
def test_intensity_scale_does_not_change_the_map(tmp_path, trained, scan, factor):
    image = nib.load(scan)
    scaled = save(tmp_path / "s_t1.nii.gz", (image.get_fdata() * factor).astype(np.float32), image.affine)
    expected = locate(opened(scan), trained).maps["combi"]
    found = locate(opened(scaled), trained).maps["combi"]
    np.testing.assert_allclose(found, expected, rtol=1e-2, atol=1e-4 * expected.max())


def test_missing_voxels_do_not_reach_the_map(tmp_path, trained, scan):
    image = nib.load(scan)
    data = image.get_fdata().astype(np.float32)
    data[20, 20:24, 18] = np.nan
    data[22, 20, 18] = np.inf
    found = locate(opened(save(tmp_path / "n_t1.nii.gz", data, image.affine)), trained)
    assert np.isfinite(found.maps["combi"]).all()
    assert any("5 voxels are NaN or infinite" in warning for warning in found.warnings)


def test_sheared_affines_are_kept(tmp_path, trained):
    matrix = np.array([[3, 0.5, 0], [0, 3, 0], [0, 0, 3]])
    shape = (60, 60, 48)
    affine = centred(matrix, shape)
    path = save(tmp_path / "s_t1.nii.gz", phantom(affine, shape)[0], affine, sform=1, qform=0)
    found = locate(opened(path), trained)
    write_volume(tmp_path / "o.nii.gz", found.maps["combi"], found.volume)
    assert np.array_equal(nib.load(tmp_path / "o.nii.gz").affine, nib.load(path).affine)


def test_raw_maps_are_those_of_raw_and_bare_is_said(scan, trained):
    found, raw = locate(opened(scan), trained), locate(opened(scan), trained, ScoreOptions(raw=True))
    assert (found.bare, raw.bare) == (False, True)
    assert np.array_equal(raw.maps["combi"], found.raw_maps["combi"])
    assert np.array_equal(raw.raw_maps["combi"], found.raw_maps["combi"])
    assert not np.allclose(found.maps["combi"], raw.maps["combi"])


def test_bright_and_dark_share_out_the_map(tmp_path, small_model):
    model = load_model(small_model)
    path = save(tmp_path / "b_t1.nii.gz", phantom(AFFINE, SHAPE, ball=BALL, gain=3)[0], AFFINE)
    found = {
        polarity: locate(opened(path), model, ScoreOptions(methods=METHODS, polarity=polarity)).signed_maps
        for polarity in ("any", "bright", "dark")
    }
    for method in METHODS:
        assert not (found["bright"][method] * found["dark"][method]).any()
        assert np.array_equal(found["bright"][method] + found["dark"][method], found["any"][method])


def test_noise_in_the_shape_of_a_brain_is_said_to_be_unlike_healthy_scans(tmp_path, trained):
    data, inside = phantom(AFFINE, SHAPE)
    noise = np.random.default_rng(0).uniform(50, 150, data.shape).astype(np.float32) * inside
    for scan, unlike in ((data, False), (noise, True)):
        path = save(tmp_path / "b_t1.nii.gz", scan, AFFINE)
        warnings = locate(opened(path), trained, ScoreOptions(force=True)).warnings
        assert any("do not trust map and findings" in warning for warning in warnings) == unlike


def test_a_lesion_does_not_make_the_whole_brain_unlike_healthy_ones(tmp_path, trained):
    path = save(tmp_path / "b_t1.nii.gz", phantom(AFFINE, SHAPE, ball=BALL, radius_mm=20, gain=2)[0], AFFINE)
    assert not any("do not trust" in warning for warning in locate(opened(path), trained).warnings)


def test_a_healthy_scan_that_calibrated_the_model_has_its_score_and_no_warning(healthy_folder, model_file, trained):
    (held_out,) = json.loads(model_file.with_suffix(".training.json").read_text())["holdout_subjects"]
    found = locate(opened(healthy_folder / f"{held_out}_t1.nii.gz"), trained)
    assert rounded(found.scores.volume["elbo"]) == trained.facts.healthy.volumes["elbo"][-1]
    assert found.warnings == ()


def test_slices_prepared_in_another_way_are_refused(trained, scan):
    facts = trained.facts
    other = facts.model_copy(update={"preprocessing": facts.preprocessing.model_copy(update={"background_sd": -9.0})})
    with pytest.raises(UnusableModel, match="prepared otherwise"):
        locate(opened(scan), Model(replace(trained.checkpoint, facts=other), trained.score_terms))


def test_place_z_is_the_baseline_and_has_findings_of_its_own(scan, trained):
    found = locate(opened(scan), trained, ScoreOptions(methods=(*METHODS, "place-z")))
    baseline = baseline_maps(found.volume, found.brain, found.canonical, trained.reference, contrast="t1")["place-z"]
    np.testing.assert_allclose(found.maps["place-z"], baseline, atol=1e-5)
    assert set(found.raw_maps) == set(METHODS)
    assert trained.facts.healthy.findings["place-z"].strengths


def test_place_z_is_refused_where_nothing_healthy_is_known_of_it_and_has_no_bare_score(scan, trained):
    with pytest.raises(UnusableOption, match="--raw: expected a map of the paper"):
        locate(opened(scan), trained, ScoreOptions(methods=["place-z"], raw=True))
    older = {name: of for name, of in trained.facts.healthy.maps.items() if name != "place-z"}
    healthy = trained.facts.healthy.model_copy(update={"maps": older})
    facts = trained.facts.model_copy(update={"healthy": healthy})
    model = replace(trained, checkpoint=replace(trained.checkpoint, facts=facts))
    with pytest.raises(UnusableModel, match="no healthy statistics of place-z"):
        locate(opened(scan), model, ScoreOptions(methods=["place-z"]))


@pytest.fixture
def nameless(tmp_path):
    """Copy a sample to a file whose name says nothing."""

    def copied(contrast):
        shutil.copy(SAMPLES / f"patient07_{contrast}.nii.gz", tmp_path / "scan.nii.gz")
        (case,) = find_cases([tmp_path / "scan.nii.gz"])
        return case

    return copied


@pytest.mark.parametrize("contrast", [full("t1"), "t2", full("flair")])
def test_a_scan_without_a_contrast_in_its_name_is_told_by_its_tissues(nameless, contrast):
    case = nameless(contrast)
    scan = open_scan(case)
    model, notes = choose_model(case, scan, DEFAULTS)
    assert model is load_model(contrast)
    assert "by its intensities" in notes[0]
    assert contrast_by_intensities(scan) == contrast


@pytest.mark.parametrize("contrast", ["t2", full("flair")])
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


def test_the_number_of_blas_threads_changes_no_bit(scan, trained):
    found = []
    for threads in (1, 2):
        with threadpool_limits(limits=threads, user_api="blas"):
            found.append(locate(opened(scan), trained))
    assert np.array_equal(found[0].canonical.grid.affine, found[1].canonical.grid.affine)
    assert np.array_equal(found[0].maps["combi"], found[1].maps["combi"])
