"""What is unusual for its place and its scan."""

import numpy as np
import pytest

from vae_loc.scoring.normalised_maps import (
    at_place,
    levelled,
    mean_and_sd,
    moments,
    normalised_maps,
    own_scale,
    relative_to_place,
    two_scales,
    with_polarity,
)
from vae_loc.vocabulary import METHODS


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


class TestByHand:
    """Five maps of a brain of 3 x 3 x 3 voxels that a reader can follow with a pencil.

    The brain is six voxels of the middle slice, A to F. Everything else is background, of 1000 in each feature, so that
    it would show if it counted. No healthy brain was ever at F: sd = 0 and mean = 0 there.

        A B C
        D E F
        . . .

    z = (u - mean) / sd, with the mean and sd of each voxel its own; z' = (z - median z) / (1.4826 MAD z) over A to E.

                        A      B      C      D      E
        residual u      3      2      8     -1     27
        mean            1      0      0     -5      0
        sd              2      1      2      1      3
        z               1      2      4      4      9        median 4, distances 3 2 0 0 5, MAD 2
        z'          -1.5/S   -1/S     0      0    2.5/S      S = 1.4826

    KL-Grad is a ratio to its healthy mean, r = values / mean; k = exp(0.25 (log r - median) / (1.4826 MAD)).

        KL gradient    12      3      8     40      2
        mean            3      3      1     10      4
        r               4      1      8      4     1/2
        log2 r          2      0      3      2     -1        median 2, distances 0 2 1 0 3, MAD 1
        log k = 0.25 x  0   -2/S    1/S      0    -3/S

    Combi = sqrt(k) z' of the residual; KL-Grad has the sign of z', and is 0 where z' is 0.
    """

    S = 1.4826
    PLACES = ((1, 0, 0), (1, 0, 1), (1, 0, 2), (1, 1, 0), (1, 1, 1), (1, 1, 2))  # A to F
    Z = np.array([-1.5, -1, 0, 0, 2.5, 0]) / S
    K = np.array([*np.exp(0.25 * np.array([0, -2, 1, 0, -3]) / S), 0])  # 0 at F: its healthy mean is not known

    def volume(self, *values, background=1000.0):
        volume = np.full((3, 3, 3), background, dtype=np.float32)
        for place, value in zip(self.PLACES, values, strict=True):
            volume[place] = value
        return volume

    @pytest.fixture
    def mask(self):
        return self.volume(1, 1, 1, 1, 1, 1, background=0) > 0

    @pytest.fixture
    def features(self):
        """The gradients of Rec and of the ELBO are 10 and 100 times the residual, in their values and their spread."""
        residual = self.volume(3, 2, 8, -1, 27, 50)
        return {
            "residual": residual,
            "rec-gradient": 10 * residual,
            "elbo-gradient": -100 * residual,
            "kl-magnitude": self.volume(12, 3, 8, 40, 2, 50),
        }

    @pytest.fixture
    def places(self):
        mean, sd = self.volume(1, 0, 0, -5, 0, 0), self.volume(2, 1, 2, 1, 3, 0)
        return {
            "residual.mean": mean,
            "residual.sd": sd,
            "rec-gradient.mean": 10 * mean,
            "rec-gradient.sd": 10 * sd,
            "elbo-gradient.mean": -100 * mean,
            "elbo-gradient.sd": 100 * sd,
            "kl-magnitude.mean": self.volume(3, 3, 1, 10, 4, 0),
            "kl-magnitude.sd": self.volume(1, 1, 1, 1, 1, 0),
        }

    def assert_is(self, found, *values):
        np.testing.assert_allclose(found, self.volume(*values, background=0), rtol=1e-5, atol=1e-6)

    def test_at_place(self, features, places, mask):
        self.assert_is(at_place(features["residual"], mask, places["residual.mean"], places["residual.sd"]), *self.Z)

    def test_relative_to_place(self, features, places, mask):
        self.assert_is(relative_to_place(features["kl-magnitude"], mask, places["kl-magnitude.mean"]), *self.K)

    def test_all_five_maps(self, features, places, mask):
        maps = normalised_maps(features, mask, places, METHODS)
        assert list(maps) == list(METHODS)
        self.assert_is(maps["rec-error"], *self.Z)
        self.assert_is(maps["rec-grad"], *self.Z)
        self.assert_is(maps["elbo-grad"], *-self.Z)
        self.assert_is(maps["kl-grad"], -self.K[0], -self.K[1], 0, 0, self.K[4], 0)
        self.assert_is(maps["combi"], *np.sqrt(self.K) * self.Z)

    def test_combi_in_numbers(self, features, places, mask):
        """At E: log k = -0.75 / 1.4826 = -0.50587, sqrt k = 0.77651, z' = 2.5 / 1.4826 = 1.68623."""
        combi = normalised_maps(features, mask, places, ["combi"])["combi"]
        assert combi[1, 1, 1] == pytest.approx(0.77651 * 1.68623, rel=1e-4)
        assert combi[1, 0, 0] == pytest.approx(-1.5 / 1.4826, rel=1e-5)  # k = 1 at A

    def test_without_healthy_brains_there_is_no_map(self, features, mask):
        assert normalised_maps(features, mask, {}, METHODS) == {}
