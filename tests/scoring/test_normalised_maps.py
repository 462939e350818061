"""Another scanner, pose or contrast: what is healthy stays healthy, what is odd is found."""

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from conftest import centred, phantom, save
from scipy.ndimage import affine_transform, binary_dilation, binary_erosion
from typer.testing import CliRunner

from vae_loc.cli.app import app
from vae_loc.model.checkpoint import healthy_threshold, with_places
from vae_loc.preprocessing.brain_mask import find_brain
from vae_loc.preprocessing.canonical import to_canonical
from vae_loc.preprocessing.pseudo_contrast import appearance
from vae_loc.preprocessing.registration import align, build_template, plausible
from vae_loc.scans.cases import find_cases
from vae_loc.scans.volume import read_volume
from vae_loc.scoring.locate import locate
from vae_loc.scoring.normalised_maps import (
    at_place,
    levelled,
    mean_and_sd,
    moments,
    own_scale,
    relative_to_place,
    two_scales,
    with_polarity,
)
from vae_loc.training.healthy_reference import calibrate_healthy

SHAPE = (40, 46, 36)
AFFINE = centred(np.diag([4.0, 4.0, 4.0]), SHAPE)
SAMPLES = Path(__file__).parents[1] / "sample_data"
BALL = (28.0, 12.0, 16.0)


def run(*arguments):
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    assert result.exit_code == 0, (result.output, result.exception)
    return result


def moved(zoom=1.0, turn_rad=0.0, shift_mm=0.0):
    """An affine in mm."""
    cos, sin = np.cos(turn_rad) * zoom, np.sin(turn_rad) * zoom
    return np.array([[cos, -sin, 0, shift_mm], [sin, cos, 0, 0], [0, 0, zoom, 0], [0, 0, 0, 1.0]])


@pytest.fixture(scope="module")
def brain_cube():
    """A real brain on a cube of 3 mm, in the pose of its scanner."""
    volume = read_volume(SAMPLES / "IXI012_t1.nii.gz")
    brain, _ = find_brain(volume, SAMPLES / "IXI012_brainmask.nii.gz")
    return to_canonical(volume, brain)


def moved_cube(cube, by):
    """Data and mask of a cube whose brain was moved by `by` in mm."""
    back = np.linalg.inv(by)
    middle = (cube.mask.shape[0] - 1) / 2
    offset = middle + back[:3, 3] / 3 - back[:3, :3] @ np.full(3, middle)
    mask = affine_transform(cube.mask.astype(np.float32), back[:3, :3], offset, order=1) > 0.5
    return affine_transform(cube.data, back[:3, :3], offset, order=1), mask


@pytest.mark.parametrize("by", [moved(), moved(zoom=1.1), moved(turn_rad=0.15), moved(shift_mm=6.0)])
def test_a_moved_brain_is_brought_back(brain_cube, by):
    template = build_template([(brain_cube.data, brain_cube.mask)], 3.0)
    found, fits = align(*moved_cube(brain_cube, by), template, 3.0)
    assert fits
    corners = np.array([[40.0, 40, 30, 1], [-40, 30, -30, 1], [30, -50, 20, 1]]).T
    assert np.abs((found - by) @ corners).max() < 4.5  # 1.5 pixels


@pytest.mark.parametrize(
    "affine",
    [moved(zoom=2), moved(turn_rad=1.0), moved(shift_mm=60), np.diag([1, 1, -1, 1.0]), np.full((4, 4), np.nan)],
    ids=["zoom", "turn", "shift", "mirror", "nan"],
)
def test_an_absurd_alignment_is_not_believed(affine):
    assert not plausible(affine)


def test_when_alignment_fails_the_pose_is_kept_with_a_warning(scan_volume, monkeypatch):
    monkeypatch.setattr("vae_loc.preprocessing.canonical.align", lambda *_: (np.eye(4), False))
    brain = scan_volume.data > 0
    kept = to_canonical(scan_volume, brain, template=np.zeros((64, 64, 64), np.float32))
    assert np.array_equal(kept.data, to_canonical(scan_volume, brain).data)
    assert "could not be aligned" in kept.warnings[0]


def test_a_wide_mask_is_tightened_where_fluid_is_dark(tmp_path):
    """A rim of 4 mm of fluid: a sixth of the mask."""
    data, inside = phantom(AFFINE, SHAPE)
    wide = binary_dilation(inside)
    volume = read_volume(save(tmp_path / "w_t1.nii.gz", np.where(inside, data, np.where(wide, 20, 0)), AFFINE))
    tight, wide_kept = (to_canonical(volume, wide, contrast=contrast).mask.sum() for contrast in ("t1", "t2"))
    expected = to_canonical(volume, inside).mask.sum()
    assert tight == pytest.approx(expected, rel=0.03)
    assert wide_kept > 1.1 * expected


def test_own_scale_does_not_depend_on_gain_or_offset():
    rng = np.random.default_rng(0)
    values, mask = rng.random((8, 8, 8)).astype(np.float32), rng.random((8, 8, 8)) < 0.7
    assert np.allclose(own_scale(values, mask), own_scale(1e6 * values + 3e6, mask), atol=1e-2)


def test_a_voxel_is_judged_by_its_place():
    """The same value is ordinary where healthy brains vary, and odd where they do not."""
    rng = np.random.default_rng(0)
    mask = np.ones((16, 16, 16), bool)
    spread = np.where(np.arange(16)[:, None, None] < 8, 0.2, 2.0) * np.ones(mask.shape)
    brains = [(spread * rng.standard_normal(mask.shape)).astype(np.float32) for _ in range(40)]
    mean, sd = mean_and_sd(sum(moments(brain, mask) for brain in brains))
    odd = np.zeros(mask.shape, np.float32)
    odd[3, 8, 8] = odd[12, 8, 8] = 1.5
    odd += 0.01 * rng.standard_normal(mask.shape).astype(np.float32)
    z = at_place(odd, mask, mean, sd)
    assert z[3, 8, 8] > 3 * z[12, 8, 8]


def test_a_scan_has_median_0_and_spread_1_of_its_own():
    rng = np.random.default_rng(0)
    mask = rng.random((16, 16, 16)) < 0.8
    values = 3 + 5 * rng.standard_normal(mask.shape).astype(np.float32)
    z = at_place(values, mask, np.zeros(mask.shape, np.float32), np.ones(mask.shape, np.float32))[mask]
    assert np.median(z) == pytest.approx(0, abs=1e-5)
    assert 1.4826 * np.median(np.abs(z)) == pytest.approx(1, rel=1e-4)


def test_where_no_healthy_brain_was_nothing_is_said():
    mask = np.ones((8, 8, 8), bool)
    sd = np.ones(mask.shape, np.float32)
    sd[:4] = 0
    assert not at_place(np.arange(512, dtype=np.float32).reshape(8, 8, 8), mask, sd * 0, sd)[:4].any()


def coordinates(size=32):
    return np.meshgrid(*[np.linspace(-1, 1, size)] * 3, indexing="ij")


def test_a_symmetric_field_is_levelled_and_a_lump_stays():
    x, y, z = coordinates()
    mask = x**2 + y**2 + z**2 < 0.9
    lump = (x - 0.4) ** 2 + y**2 + z**2 < 0.25**2
    noise = 0.1 * np.random.default_rng(0).standard_normal(mask.shape)
    field = 1 + 2 * x**2 - y + 0.5 * z * y
    even = levelled((field + noise + 3 * lump).astype(np.float32) * mask, mask)
    assert np.abs(np.median(even[mask & ~lump])) < 0.02
    assert even[mask & ~lump].std() < 0.15
    assert even[lump].mean() == pytest.approx(3, abs=0.2)
    assert not even[~mask].any()


def test_what_differs_between_left_and_right_is_not_levelled():
    x, y, z = coordinates()
    mask = x**2 + y**2 + z**2 < 0.9
    assert levelled((2 * x * mask).astype(np.float32), mask).std() > 0.5


def test_a_curve_over_the_expected_intensity_is_levelled_only_if_asked_for():
    rng = np.random.default_rng(0)
    mask = np.ones((16, 16, 16), bool)
    expected = rng.standard_normal(mask.shape).astype(np.float32)
    values = expected + 0.5 * expected**2
    assert levelled(values, mask, expected).std() < 1e-3
    assert levelled(values, mask).std() > 0.5


def test_levelling_scales_with_its_input():
    rng = np.random.default_rng(0)
    mask = rng.random((16, 16, 16)) < 0.8
    values = rng.standard_normal(mask.shape).astype(np.float32) * mask
    np.testing.assert_allclose(levelled(1000 * values, mask), 1000 * levelled(values, mask), rtol=1e-3, atol=1e-2)


def test_two_scales_keep_a_constant_and_the_background():
    mask = np.zeros((16, 16, 16), bool)
    mask[3:12, 4:13, 2:14] = True
    smooth = two_scales(np.full(mask.shape, 2.0, np.float32), mask, 3.0)
    np.testing.assert_allclose(smooth[mask], 2, rtol=1e-5)
    assert not smooth[~mask].any()


def test_a_ratio_to_the_healthy_mean_has_median_1_and_one_spread_on_every_scanner():
    rng = np.random.default_rng(0)
    mask = rng.random((16, 16, 16)) < 0.8
    mean = rng.random(mask.shape).astype(np.float32) + 1
    noise = rng.standard_normal(mask.shape)
    one, other = (
        relative_to_place((gain * mean * np.exp(spread * noise) * mask).astype(np.float32), mask, mean)
        for gain, spread in ((7, 0.1), (0.3, 0.9))
    )
    np.testing.assert_allclose(np.median(one[mask]), 1, rtol=1e-3)
    np.testing.assert_allclose(one, other, rtol=1e-3)
    assert not one[~mask].any()


def test_a_ratio_that_is_the_same_everywhere_is_1():
    mask = np.ones((4, 4, 4), bool)
    np.testing.assert_allclose(relative_to_place(7 * np.ones((4, 4, 4), np.float32), mask, mask.astype(np.float32)), 1)


def test_polarity_keeps_one_sign():
    signed = np.array([-2.0, 0, 3], np.float32)
    assert with_polarity(signed, "any").tolist() == [2, 0, 3]
    assert with_polarity(signed, "bright").tolist() == [0, 0, 3]
    assert with_polarity(signed, "dark").tolist() == [2, 0, 0]


@pytest.mark.parametrize(("contrast", "order"), [("t1", "fgw"), ("t2", "wgf"), ("flair", "fwg")])
def test_a_synthesized_contrast_has_its_tissues_in_order(scan_volume, contrast, order):
    """A phantom of three tissues: fluid, grey and white matter."""
    brain = scan_volume.data > 0
    canonical = to_canonical(scan_volume, brain)
    thirds = np.digitize(np.arange(64), (22, 42))[:, None, None] * np.ones(canonical.mask.shape)
    tissue = np.choose(thirds.astype(int), (-3.0, -0.5, 1.0)).astype(np.float32)
    canonical.data[:] = np.where(canonical.mask, tissue, canonical.data)
    for seed in range(3):
        look = appearance(canonical, contrast, np.random.default_rng(seed))
        means = {name: look.data[canonical.mask & (thirds == index)].mean() for index, name in enumerate("fgw")}
        assert sorted("fgw", key=means.get) == list(order)
        again = appearance(canonical, contrast, np.random.default_rng(seed))
        assert np.array_equal(look.data, again.data)


@pytest.mark.parametrize(("gain", "polarity"), [(3.0, "bright"), (0.3, "dark")])
def test_a_bright_and_a_dark_ball_are_both_found(tmp_path, model_file, gain, polarity):
    path = save(tmp_path / "b_t1.nii.gz", phantom(AFFINE, SHAPE, ball=BALL, gain=gain)[0], AFFINE)
    for wanted in ("any", polarity):
        run("score", path, "-m", model_file, "-o", tmp_path, "--method", "rec-error", "--polarity", wanted)
        scores = nib.load(tmp_path / "b_t1_desc-recerror_anomaly.nii.gz").get_fdata()
        peak = AFFINE[:3, :3] @ np.unravel_index(scores.argmax(), SHAPE) + AFFINE[:3, 3]
        assert np.linalg.norm(peak - BALL) < 16


def of_another_scanner(folder, kind):
    """The healthy phantom as another scanner shows it, its brain, and the mask the user gives, if any."""
    affine, shape = AFFINE, SHAPE
    if kind == "resolution":
        shape = (64, 73, 24)
        affine = centred(np.diag([2.5, 2.5, 6.0]), shape)
    data, inside = phantom(affine, shape, seed=0.15)
    if kind == "gamma":
        data = np.where(inside, 100 * (data / 100) ** 1.3, 0)
    if kind == "bias":
        data = data * np.exp(0.1 * np.linspace(-1, 1, shape[0]))[:, None, None]
    mask = None
    if kind == "tight mask":
        mask = save(folder / "mask.nii.gz", binary_erosion(inside).astype(np.uint8), affine)
    if kind == "wide mask":
        wide = binary_dilation(inside)
        data = np.where(wide & ~inside, 20, data)  # fluid
        mask = save(folder / "mask.nii.gz", wide.astype(np.uint8), affine)
    return save(folder / "h_t1.nii.gz", data.astype(np.float32), affine), inside, mask


@pytest.mark.parametrize("kind", ["same", "gamma", "bias", "resolution", "tight mask", "wide mask"])
def test_a_healthy_phantom_of_another_scanner_is_not_flagged(tmp_path, model_file, kind):
    path, inside, mask = of_another_scanner(tmp_path, kind)
    options = ["--brain-mask", mask] if mask else []
    run("segment", path, "-m", model_file, "-o", tmp_path, "--fpr", "0.05", "--min-size", "0", *options)
    flagged = nib.load(tmp_path / "h_t1_desc-combi_mask.nii.gz").get_fdata() > 0
    assert flagged[inside].mean() <= 0.08


def test_raw_writes_the_bare_score_and_percentile_a_second_map(tmp_path, model_file, scan):
    run("segment", scan, "-m", model_file, "-o", tmp_path / "n", "--percentile")
    run("segment", scan, "-m", model_file, "-o", tmp_path / "r", "--raw")
    normal, raw = (nib.load(tmp_path / f / "pat_t1_desc-combi_anomaly.nii.gz").get_fdata() for f in ("n", "r"))
    assert not np.allclose(normal, raw)
    percentile = nib.load(tmp_path / "n/pat_t1_desc-combi_percentile.nii.gz").get_fdata()
    assert 0 <= percentile.min() <= percentile.max() <= 100
    thresholds = [
        json.loads((tmp_path / f / "pat_t1_scores.json").read_text())["masks"]["combi"]["threshold"] for f in ("n", "r")
    ]
    assert thresholds[0] != thresholds[1]


def test_a_healthy_brain_is_judged_by_the_others(tmp_path, healthy_folder, trained):
    """A brain unlike the others widens the spread by place, but not when it is judged itself."""
    odd = save(tmp_path / "odd_t1.nii.gz", phantom(AFFINE, SHAPE, ball=BALL, gain=3.0)[0], AFFINE)
    bare = with_places(trained[0], {"template": trained[0].places["template"]})
    calibrated = calibrate_healthy(bare, find_cases([*sorted(healthy_folder.glob("sub*_t1.nii.gz")), odd]))
    by_all = locate(read_volume(odd), calibrated, trained[1], methods=["rec-error"]).maps["rec-error"].max()
    assert max(calibrated.facts.healthy.maps["rec-error"]) > 2 * by_all


def test_one_healthy_brain_is_judged_by_itself(healthy_folder, trained):
    bare = with_places(trained[0], {"template": trained[0].places["template"]})
    one = calibrate_healthy(bare, find_cases([healthy_folder / "sub0_t1.nii.gz"]))
    assert healthy_threshold(one, "combi", 0.05) > 0
