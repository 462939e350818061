"""What a reader is promised: no finding in a healthy phantom, and one of the right sign for each planted ball."""

import json

import nibabel as nib
import numpy as np
import pytest
from support.commands import invoke
from support.grids import SOME_OR_ALL
from support.phantoms import AFFINE, BALL, SHAPE, phantom, save

import vae_loc
from vae_loc.scoring.score_options import DEFAULT_FALSE_FINDINGS

DARK = (-26.0, -20.0, 10.0)  # mm: a place well inside the other half


def head(seed, *, bright=None, dark=None, noise=0):
    """A phantom with noise and a brighter and a darker ball, where places are given."""
    data, inside = phantom(AFFINE, SHAPE, ball=bright, gain=1.6, seed=seed)
    if dark is not None:
        darker, _ = phantom(AFFINE, SHAPE, ball=dark, gain=0.5, seed=seed)
        usual, _ = phantom(AFFINE, SHAPE, seed=seed)
        data = np.where(darker < usual, darker, data)
    rough = np.random.default_rng(noise).normal(0, 2, data.shape) * inside
    return (data + rough).astype(np.float32)


def calibrated(model_file, folder, *, count):
    """The phantom model, calibrated on some healthy phantoms."""
    for number in range(count):
        save(folder / f"h{number:02}_t1.nii.gz", head(0.4 * number / count, noise=number), AFFINE)
    invoke("calibrate", model_file, "--healthy", folder, "-o", folder / "site.safetensors", "--quiet")
    return folder / "site.safetensors"


@pytest.fixture(scope="module")
def site_model(model_file, tmp_path_factory):
    return calibrated(model_file, tmp_path_factory.mktemp("site"), count=8)


def findings(tmp_path, model, data, affine=AFFINE):
    path = save(tmp_path / "p_t1.nii.gz", data, affine)
    return vae_loc.segment(path, model=str(model)).findings


def off_mm(finding, place):
    return np.linalg.norm(np.subtract(finding.peak_ras_mm, place))


@pytest.mark.full
def test_twenty_healthy_phantoms_have_no_more_findings_than_promised(tmp_path, model_file):
    """By sixteen others: the strength that eight tell is chance, and gave 4 findings where 2 are expected."""
    folder = tmp_path / "site"
    folder.mkdir()
    model = calibrated(model_file, folder, count=16)
    found = [findings(tmp_path, model, head(0.4 * n / 20, noise=100 + n)) for n in range(20)]
    assert sum(map(len, found)) <= DEFAULT_FALSE_FINDINGS * 20


@pytest.mark.full
def test_a_planted_ball_is_one_finding_of_its_sign_at_its_place(tmp_path, site_model):
    (bright,) = findings(tmp_path, site_model, head(0.2, bright=BALL, noise=50))
    (dark,) = findings(tmp_path, site_model, head(0.2, dark=DARK, noise=50))
    assert (bright.sign, dark.sign) == ("brighter", "darker")
    assert off_mm(bright, BALL) < 12
    assert off_mm(dark, DARK) < 12
    assert bright.real_as_strong == dark.real_as_strong == 0


@pytest.mark.full
def test_a_second_ball_does_not_hide_the_first(tmp_path, site_model):
    both = findings(tmp_path, site_model, head(0.2, bright=BALL, dark=DARK, noise=50))
    assert sorted(finding.sign for finding in both) == ["brighter", "darker"]


@pytest.mark.full
@pytest.mark.parametrize("orientations", **SOME_OR_ALL)
def test_all_orientations_give_the_same_findings(tmp_path, site_model, orientations):
    data = head(0.2, bright=BALL, dark=DARK, noise=50)
    first = findings(tmp_path, site_model, data)
    for orientation in orientations:
        affine = AFFINE @ nib.orientations.inv_ornt_aff(orientation, SHAPE)
        again = findings(tmp_path, site_model, nib.orientations.apply_orientation(data, orientation), affine)
        assert len(again) == len(first)
        for one, other in zip(first, again, strict=True):
            assert (one.sign, one.real_as_strong) == (other.sign, other.real_as_strong)
            assert other.strength == pytest.approx(one.strength, rel=0.02)
            assert other.volume_ml == pytest.approx(one.volume_ml, rel=0.05)
            assert np.linalg.norm(np.subtract(other.peak_ras_mm, one.peak_ras_mm)) < 6


@pytest.mark.full
def test_nothing_found_is_an_answer_on_screen_and_in_the_json(tmp_path, site_model):
    path = save(tmp_path / "h_t1.nii.gz", head(0.15, noise=102), AFFINE)
    said = invoke("segment", path, "-m", site_model, "-o", tmp_path / "out")
    assert said.exit_code == 0
    assert "no finding that fewer than 1 in 9 healthy people show" in said.output  # the model knows nine
    mask = json.loads((tmp_path / "out" / "h_t1_scores.json").read_text())["masks"]["combi"]
    assert (mask["findings"], mask["volume_ml"], mask["false_findings"]) == ([], 0, 1 / 9)


@pytest.mark.full
def test_fewer_false_findings_than_the_model_s_scans_can_tell_are_warned_of_in_one_line(tmp_path, site_model):
    (tmp_path / "scans").mkdir()
    for name in "ab":
        save(tmp_path / "scans" / f"{name}_t1.nii.gz", head(0.15, bright=BALL, noise=102), AFFINE)
    said = invoke("segment", tmp_path / "scans", "-m", site_model, "-o", tmp_path, "--false-findings", "0.001")
    warned = "warning: findings by 0.001 false findings per healthy scan, extrapolated beyond its 9 scans"
    assert said.output.count(warned) == said.output.count("extrapolated") == 1
    mask = json.loads((tmp_path / "a_t1_scores.json").read_text())["masks"]["combi"]
    assert (mask["false_findings"], mask["told_by"]) == (1 / 9, 9)
    assert mask["findings"]
    assert all(finding["false_findings"] == 1 / 9 for finding in mask["findings"])


def test_a_site_of_too_few_healthy_scans_is_told_so(tmp_path, small_model, healthy_folder):
    said = invoke(
        "calibrate", small_model, "--healthy", healthy_folder / "sub0_t1.nii.gz", "-o", tmp_path / "s.safetensors"
    )
    assert "1 healthy subject is too few" in said.output
    assert "before: findings from strength" in said.output
    assert "after: findings from strength" in said.output
