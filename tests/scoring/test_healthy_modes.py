"""What healthy brains have in common ways is taken off; what only one brain has stays."""

import numpy as np
import pytest

from vae_loc.scoring.healthy_modes import count_for, principal_modes, without_modes

SIZE = 16
KNOWN = np.zeros((SIZE,) * 3, bool)
KNOWN[2:-2, 2:-2, 2:-2] = True


@pytest.fixture(scope="module")
def patterns():
    x, y, z = np.meshgrid(*[np.linspace(-1, 1, SIZE)] * 3, indexing="ij")
    return np.stack([np.sin(3 * x + y), np.cos(4 * y) * z, x * y * z * 4]).astype(np.float32)


def brains(patterns, count, seed=0):
    rng = np.random.default_rng(seed)
    for _ in range(count):
        terms = rng.normal(0, 1, len(patterns))
        yield (np.tensordot(terms, patterns, 1) + 0.2 * rng.standard_normal(KNOWN.shape)).astype(np.float32) * KNOWN


def test_modes_are_told_from_healthy_brains_and_their_coefficients_have_unit_spread(patterns):
    modes = principal_modes(brains(patterns, 80), KNOWN, 3)
    assert modes.shape == (3, np.count_nonzero(KNOWN))
    rows = np.stack([brain[KNOWN] for brain in brains(patterns, 80)])
    terms = np.linalg.lstsq(modes.T, (rows - rows.mean(axis=0)).T, rcond=None)[0]
    np.testing.assert_allclose(terms.std(axis=1), 1, rtol=0.1)


def test_a_new_healthy_brain_has_only_its_noise_left(patterns):
    modes = principal_modes(brains(patterns, 80), KNOWN, 3)
    (brain,) = brains(patterns, 1, seed=9)
    rest = without_modes(brain, KNOWN, KNOWN, modes)
    assert brain[KNOWN].std() > 0.6
    assert rest[KNOWN].std() == pytest.approx(0.2, rel=0.15)
    assert not rest[~KNOWN].any()


def test_a_lesion_has_no_say_in_the_fit_and_stays(patterns):
    modes = principal_modes(brains(patterns, 80), KNOWN, 3)
    (brain,) = brains(patterns, 1, seed=9)
    lesion = np.zeros_like(KNOWN)
    lesion[3:7, 3:7, 3:7] = True
    rest = without_modes(brain, KNOWN, KNOWN, modes)
    with_lesion = without_modes(brain + np.float32(8) * lesion, KNOWN, KNOWN, modes)
    np.testing.assert_allclose((with_lesion - rest)[lesion], 8, atol=0.4)
    np.testing.assert_allclose((with_lesion - rest)[KNOWN & ~lesion], 0, atol=0.4)


def test_no_more_of_a_mode_is_taken_off_than_healthy_brains_have(patterns):
    modes = principal_modes(brains(patterns, 80), KNOWN, 3)
    extreme = np.zeros(KNOWN.shape, np.float32)
    extreme[KNOWN] = 10 * modes[0]
    rest = without_modes(extreme, KNOWN, KNOWN, modes)
    np.testing.assert_allclose(rest[KNOWN], 7 * modes[0], atol=0.05)


def test_one_absurd_brain_is_no_mode(patterns):
    usual = list(brains(patterns, 80))
    absurd = np.where(np.random.default_rng(1).random(KNOWN.shape) < 0.02, 1e4, 0).astype(np.float32) * KNOWN
    modes = principal_modes([*usual, absurd], KNOWN, 3)
    (brain,) = brains(patterns, 1, seed=9)
    assert without_modes(brain, KNOWN, KNOWN, modes)[KNOWN].std() == pytest.approx(0.2, rel=0.15)


def test_the_same_brains_give_the_same_modes_to_the_sign(patterns):
    first, second = (principal_modes(brains(patterns, 40), KNOWN, 3) for _ in range(2))
    assert np.array_equal(first, second)
    turned = principal_modes(reversed(list(brains(patterns, 40))), KNOWN, 3)
    np.testing.assert_allclose(turned, first, atol=1e-3)


def test_a_brain_without_a_known_place_has_nothing_left(patterns):
    modes = principal_modes(brains(patterns, 20), KNOWN, 3)
    assert not without_modes(np.ones(KNOWN.shape, np.float32), ~KNOWN, KNOWN, modes).any()


def test_few_brains_have_no_modes():
    assert (count_for(24), count_for(25), count_for(99), count_for(1000)) == (0, 5, 19, 20)


def test_maps_count_up_to_4_sd(patterns):
    wide = [3 * brain for brain in brains(patterns, 30)]
    assert np.abs(wide).max() > 5
    modes, at_4, at_3 = (
        principal_modes([np.clip(brain, -sd, sd) for brain in wide], KNOWN, 3) for sd in (np.inf, 4, 3)
    )
    np.testing.assert_array_equal(modes, at_4)
    assert not np.allclose(modes, at_3, rtol=1e-2)


def test_a_mode_of_few_voxels_is_held_back_by_a_ridge_of_1():
    """a = argmin sum w (v - a p)^2 + a^2 = w p v / (w p p + 1), here p p = 1 and w alike for all voxels."""
    mode = np.where(np.arange(np.count_nonzero(KNOWN)) % 2, 1, -1).astype(np.float32)
    mode /= np.sqrt(len(mode))
    values = np.zeros(KNOWN.shape, np.float32)
    values[KNOWN] = 2 * mode
    weight = (1 - (1 / (2.5 * 1.4826)) ** 2) ** 2
    taken = 2 * weight / (weight + 1)
    rest = without_modes(values, KNOWN, KNOWN, mode[None])
    np.testing.assert_allclose(rest[KNOWN], (2 - taken) * mode, rtol=1e-3)
