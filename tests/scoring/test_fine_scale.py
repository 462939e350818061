"""What is too small for the network's maps is added at half the pixel."""

from types import SimpleNamespace

import numpy as np
import pytest

from vae_loc.preprocessing.canonical import CanonicalVolume
from vae_loc.preprocessing.resampling import Grid, doubled_mask
from vae_loc.preprocessing.robust_fit import own_scale
from vae_loc.scoring.fine_scale import AWAY_SHARE, fine_evidence, fine_intensity, fused
from vae_loc.scoring.normalised_maps import moments, normalised_maps

SIZE = 64
SPOT = (slice(60, 63),) * 3  # at half the pixel, in the middle
EDGE = (slice(16, 17), slice(60, 63), slice(60, 63))  # at the surface


@pytest.fixture
def mask():
    inside = np.zeros((SIZE,) * 3, bool)
    inside[8:56, 8:56, 8:56] = True
    return inside


@pytest.fixture
def evidence(mask):
    """Return the evidence of noise with a spot."""
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((2 * SIZE,) * 3).astype(np.float32)

    def of(lift, contrast, at=SPOT):
        values = noise.copy()
        values[at] += lift
        zero, one = np.zeros(mask.shape, np.float32), np.ones(mask.shape, np.float32)
        return fine_evidence(values * doubled_mask(mask), mask, zero, one, contrast)

    return of


@pytest.mark.parametrize(
    ("contrast", "lift"), [("t1", -15.0), ("t2", 15.0), ("flair", 9.0), ("pd", 15.0), ("pd", -15.0)]
)
def test_a_small_lesion_has_evidence_of_its_sign(evidence, contrast, lift):
    assert (evidence(lift, contrast)[SPOT] * np.sign(lift) > 3).all()


@pytest.mark.parametrize(("contrast", "lift"), [("t1", 9.0), ("t2", -9.0), ("flair", -9.0)])
def test_what_has_not_the_sign_of_disease_has_none(evidence, contrast, lift):
    assert not evidence(lift, contrast)[SPOT].any()


def test_the_surface_of_a_mask_where_skull_may_stay_has_none(evidence):
    assert not evidence(9.0, "flair", at=EDGE)[EDGE].any()


def test_what_is_usual_has_none(evidence, mask):
    assert np.mean(evidence(0.0, "flair")[doubled_mask(mask)] != 0) < 0.03


def test_evidence_is_0_outside_the_brain_and_where_no_healthy_brain_was(mask):
    values = np.random.default_rng(0).standard_cauchy((2 * SIZE,) * 3).astype(np.float32)
    sd = np.where(np.arange(SIZE)[:, None, None] < 32, 1.0, 0.0) * np.ones(mask.shape)
    found = fine_evidence(values, mask, np.zeros(mask.shape, np.float32), sd.astype(np.float32), "pd")
    assert not found[~doubled_mask(mask & (sd > 0))].any()
    assert found.any()


@pytest.mark.parametrize(("contrast", "bright", "dark"), [("t1", 0.5, 1), ("flair", 1, 0.5), ("pd", 1, 1)])
def test_a_map_counts_half_away_from_the_sign_of_disease(mask, contrast, bright, dark):
    assert AWAY_SHARE == 0.5
    values = np.where(np.arange(SIZE)[:, None, None] < 32, 4.0, -4.0) * np.ones(mask.shape) * mask
    result = fused(values.astype(np.float32), None, mask, contrast)
    assert result.shape == (2 * SIZE,) * 3
    assert result[40, 60, 60] == pytest.approx(4 * bright)
    assert result[88, 60, 60] == pytest.approx(-4 * dark)
    assert not result[~doubled_mask(mask)].any()


def test_evidence_is_added(mask):
    evidence = np.zeros((2 * SIZE,) * 3, np.float32)
    evidence[SPOT] = 3
    result = fused(np.ones(mask.shape, np.float32) * mask, evidence, mask, "flair")
    assert np.allclose(result[SPOT], 4)


def test_the_scan_s_own_field_is_taken_off(mask):
    field = (np.arange(SIZE)[:, None, None] * np.ones(mask.shape)).astype(np.float32)
    fine = (np.arange(2 * SIZE)[:, None, None] / 2 - 0.25) * np.ones((2 * SIZE,) * 3)
    canonical = CanonicalVolume(field, mask, Grid(mask.shape, np.eye(4), 3.0), fine=fine.astype(np.float32))
    even = fine_intensity(canonical, field)
    assert np.abs(even[20:-20, 20:-20, 20:-20]).max() < 1e-3


def test_moments_at_half_the_pixel_are_means_of_eight(mask):
    fine = np.random.default_rng(0).standard_normal((2 * SIZE,) * 3).astype(np.float32)
    count, total, squares = moments(fine, mask)
    eight = fine[20:22, 20:22, 20:22]
    assert count[10, 10, 10] == 1
    assert total[10, 10, 10] == pytest.approx(eight.mean(), abs=1e-6)
    assert squares[10, 10, 10] == pytest.approx((eight**2).mean(), abs=1e-6)
    assert not total[~mask].any()


def test_maps_are_at_half_the_pixel_only_where_brain_and_model_know_the_fine_scale(mask):
    rng = np.random.default_rng(0)
    names = SimpleNamespace(coarse=("residual", "kl-magnitude"), fine="fine")
    features = {name: np.abs(rng.standard_normal(mask.shape)).astype(np.float32) * mask for name in names.coarse}
    reference = {f"{name}.mean": np.ones(mask.shape, np.float32) for name in names.coarse}
    reference |= {f"{name}.sd": np.ones(mask.shape, np.float32) for name in names.coarse}
    fine = {"fine": rng.standard_normal((2 * SIZE,) * 3).astype(np.float32)}
    fine_reference = {"fine.mean": np.zeros(mask.shape, np.float32), "fine.sd": np.ones(mask.shape, np.float32)}

    def shape(of, known):
        return normalised_maps(of, mask, known, ["combi"], contrast="t1")["combi"].shape

    assert shape(features | fine, reference | fine_reference) == (2 * SIZE,) * 3
    assert shape(features, reference | fine_reference) == mask.shape
    assert shape(features | fine, reference) == mask.shape


@pytest.mark.parametrize(("contrast", "gain", "from_sd", "own_share"), [("t2", 0.5, 3, 0), ("flair", 4, 2, 0.5)])
def test_evidence_is_the_gain_times_what_is_beyond(mask, contrast, gain, from_sd, own_share):
    """On FLAIR half of it is the intensity on the scan's own scale: healthy spread counts only half."""
    values = np.where(np.indices((2 * SIZE,) * 3).sum(axis=0) % 2, 1, -1).astype(np.float32) * doubled_mask(mask)
    sd = np.where(np.arange(SIZE)[:, None, None] < 32, 1, 2) * np.ones(mask.shape)
    values[100, 60, 60] = 30
    spread = doubled_mask(mask) * np.where(np.arange(2 * SIZE)[:, None, None] < 64, 1, 2)
    wide, known = values / np.maximum(spread, 1), doubled_mask(mask)
    z = (1 - own_share) * own_scale(wide, known) + own_share * own_scale(values, known)
    found = fine_evidence(values, mask, np.zeros(mask.shape, np.float32), sd.astype(np.float32), contrast)
    assert found[100, 60, 60] == pytest.approx(gain * (z[100, 60, 60] - from_sd), rel=1e-4)


def test_kl_grad_gets_no_evidence_of_the_fine_intensity(mask):
    rng = np.random.default_rng(0)
    names = ("residual", "kl-magnitude")
    features = {name: np.abs(rng.standard_normal(mask.shape)).astype(np.float32) * mask for name in names}
    flat = {f"{name}.mean": np.ones(mask.shape, np.float32) for name in (*names, "fine")}
    reference = flat | {f"{name}.sd": np.ones(mask.shape, np.float32) for name in (*names, "fine")}
    calm = rng.standard_normal((2 * SIZE,) * 3).astype(np.float32)
    spotted = calm.copy()
    spotted[SPOT] += 30
    first, second = (
        normalised_maps(features | {"fine": fine}, mask, reference, ["kl-grad", "combi"], contrast="flair")
        for fine in (calm, spotted)
    )
    assert np.array_equal(first["kl-grad"], second["kl-grad"])
    assert (second["combi"] - first["combi"])[SPOT].min() > 10
