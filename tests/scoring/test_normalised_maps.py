"""What is unusual for its place and its scan."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from vae_loc.preprocessing.robust_fit import own_scale
from vae_loc.preprocessing.smoothing import smoothed, two_scales
from vae_loc.scoring.normalised_maps import (
    at_place,
    levelled,
    mean_and_sd,
    moments,
    normalised_maps,
    relative_to_place,
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
    assert with_polarity(signed, "any").tolist() == [-2, 0, 3]
    assert with_polarity(signed, "bright").tolist() == [0, 0, 3]
    assert with_polarity(signed, "dark").tolist() == [-2, 0, 0]


def random_mask(size=20, share=0.7):
    return np.random.default_rng(1).random((size,) * 3) < share


def gaussian_over(values, mask, sigma):
    """Smooth over a mask only, by scipy."""
    summed, weight = (
        gaussian_filter(array.astype(np.float64), sigma, mode="constant", truncate=3) for array in (values * mask, mask)
    )
    return np.where(mask, summed / np.maximum(weight, 1e-9), 0)


@pytest.mark.parametrize(("fwhm_mm", "pixel_mm"), [(14.0, 3.0), (6.0, 1.5), (9.0, 4.0)])
def test_smoothing_is_scipy_s_gaussian_of_that_width_over_the_brain(fwhm_mm, pixel_mm):
    mask = random_mask()
    values = np.random.default_rng(0).standard_normal(mask.shape, dtype=np.float32)
    expected = gaussian_over(values, mask, fwhm_mm / np.sqrt(8 * np.log(2)) / pixel_mm)
    np.testing.assert_allclose(smoothed(values, mask, pixel_mm, fwhm_mm), expected, atol=1e-4)


def test_two_scales_are_a_fifth_of_4_mm_and_four_fifths_of_14_mm():
    mask = random_mask()
    values = np.random.default_rng(0).standard_normal(mask.shape, dtype=np.float32)
    narrow, wide = (smoothed(values, mask, 3.0, fwhm_mm) for fwhm_mm in (4, 14))
    np.testing.assert_allclose(two_scales(values, mask, 3.0), 0.2 * narrow + 0.8 * wide, atol=1e-6)


def ball(size=23):
    """Coordinates from -1 to 1 and a ball in the middle: few enough voxels that each one is fitted."""
    x, y, z = coordinates(size)
    return x, y, z, x**2 + y**2 + z**2 < 0.9


def test_a_field_of_second_order_alike_on_both_sides_goes_wholly():
    x, y, z, mask = ball()
    field = 3 - 2 * y + z + 4 * x**2 + y**2 - 2 * z**2 + 3 * y * z
    np.testing.assert_allclose(levelled((field * mask).astype(np.float32), mask), 0, atol=1e-4)


@pytest.mark.parametrize(
    "field",
    [
        lambda x, y, z: x,
        lambda x, y, z: x * y,
        lambda x, y, z: x * z,
        lambda x, y, z: y * (x**2 - z**2),
        lambda x, y, z: z * (x**2 - y**2),
    ],
)
def test_a_field_of_another_side_or_order_stays(field):
    """Solid harmonics: over a ball none is like another, or like a polynomial of lower order."""
    x, y, z, mask = ball()
    values = (field(x, y, z) * mask).astype(np.float32)
    np.testing.assert_allclose(levelled(values, mask), values, atol=0.02 * values.max())


@pytest.mark.parametrize("height", [3, 30])
def test_a_lump_does_not_change_what_is_levelled_beside_it(height):
    x, y, z, mask = ball()
    noise = 0.1 * np.random.default_rng(0).standard_normal(mask.shape)
    field = ((10 + 20 * x**2 - 10 * y + noise) * mask).astype(np.float32)
    lump = (x - 0.4) ** 2 + y**2 + z**2 < 0.35**2
    spoiled = (field + height * lump).astype(np.float32)
    np.testing.assert_allclose(levelled(spoiled, mask)[~lump], levelled(field, mask)[~lump], atol=0.02)


def test_what_is_left_is_that_of_a_bisquare_fit():
    """sum w r c = 0 for each column c of the field, w = (1 - (r / (2 x 1.4826 MAD))^2)^2, none beyond (Beaton & Tukey).

    Skewed noise, for which another weight would leave another rest.
    """
    x, y, z, mask = ball()
    noise = np.random.default_rng(0).exponential(size=mask.shape).astype(np.float32) * mask
    rest = levelled(noise, mask)[mask].astype(np.float64)
    cut = 2.0 * 1.4826 * np.median(np.abs(rest))
    weight = np.maximum(1 - (rest / cut) ** 2, 0) ** 2
    for column in (np.ones_like(x), y, z, x**2):
        weighted = weight * column[mask]
        assert abs(weighted @ rest) < 2e-3 * np.abs(weighted).sum()


def test_a_map_of_no_voxel_is_0_everywhere():
    assert not own_scale(np.ones((4, 4, 4), np.float32), np.zeros((4, 4, 4), bool)).any()


def test_mean_and_spread_by_place_are_those_of_the_brains_there():
    """From above: brains that vary, brains that do not (0.3 of the median spread), no brain but garbage."""
    mask = np.zeros((12, 12, 24), bool)
    mask[..., 4:] = True
    heights = np.array([0.1, 0.4, -0.3, 0.2, 0.5])
    brains = [np.where(np.arange(24) >= 10, height, 0.25) + 1000.0 * ~mask for height in heights]
    mean, sd = mean_and_sd(sum(moments(brain.astype(np.float32), mask) for brain in brains))
    inner = (slice(4, -4), slice(4, -4))  # beside the faces of the cube less than half of what is smoothed is known
    mean, sd = (values[(*inner, slice(None, -4))] for values in (mean, sd))
    np.testing.assert_allclose(mean[..., 14:], heights.mean(), rtol=1e-5)
    np.testing.assert_allclose(sd[..., 14:], heights.std(), rtol=1e-5)
    np.testing.assert_allclose(mean[..., 4:7], 0.25, rtol=1e-5)
    np.testing.assert_allclose(sd[..., 4:7], 0.3 * heights.std(), rtol=1e-5)
    assert not mean[..., :2].any()
    assert not sd[..., :2].any()


def test_brains_that_are_all_alike_have_a_finite_positive_spread():
    """The rounding of a sum of squares must not give the root of a negative number."""
    mask = np.ones((12, 12, 12), bool)
    mean, sd = mean_and_sd(3 * moments(np.full(mask.shape, 3000.7, np.float32), mask))
    assert np.isfinite(sd).all()
    inner = (slice(4, -4),) * 3
    np.testing.assert_allclose(mean[inner], 3000.7, rtol=1e-6)
    assert (sd[inner] > 0).all()


@pytest.mark.parametrize(("brains", "known"), [(4, False), (6, True)])
def test_a_place_is_known_where_half_of_the_healthy_brains_have_brain(brains, known):
    everywhere, corner = np.ones((12, 12, 12), bool), np.zeros((12, 12, 12), bool)
    corner[2:10, 2:10, 2:6] = True
    values = np.random.default_rng(0).standard_normal((10, 12, 12, 12)).astype(np.float32)
    masks = [everywhere if number < brains else corner for number in range(10)]
    _, sd = mean_and_sd(sum(moments(of, mask) for of, mask in zip(values, masks, strict=True)))
    assert (sd[6, 6, 4] > 0, sd[6, 6, 8] > 0) == (True, known)


def test_where_a_ratio_or_its_mean_is_0_the_result_is_0():
    mask = np.ones((6, 6, 6), bool)
    values, mean = (np.random.default_rng(seed).random(mask.shape).astype(np.float32) + 1 for seed in range(2))
    values[0, 0, 0] = mean[1, 1, 1] = 0
    found = relative_to_place(values, mask, mean)
    assert found[0, 0, 0] == found[1, 1, 1] == 0
    assert np.count_nonzero(found) == mask.size - 2


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

    Combi = k^0.1 z' of the residual; KL-Grad has the sign of z', and is 0 where z' is 0.
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
    def reference(self):
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

    def test_at_place(self, features, reference, mask):
        self.assert_is(
            at_place(features["residual"], mask, reference["residual.mean"], reference["residual.sd"]), *self.Z
        )

    def test_relative_to_place(self, features, reference, mask):
        self.assert_is(relative_to_place(features["kl-magnitude"], mask, reference["kl-magnitude.mean"]), *self.K)

    def test_all_five_maps(self, features, reference, mask):
        maps = normalised_maps(features, mask, reference, METHODS)
        assert list(maps) == list(METHODS)
        self.assert_is(maps["rec-error"], *self.Z)
        self.assert_is(maps["rec-grad"], *self.Z)
        self.assert_is(maps["elbo-grad"], *-self.Z)
        self.assert_is(maps["kl-grad"], -self.K[0], -self.K[1], 0, 0, self.K[4], 0)
        self.assert_is(maps["combi"], *self.K**0.1 * self.Z)

    def test_combi_in_numbers(self, features, reference, mask):
        """At E: log k = -0.75 / 1.4826 = -0.50587, k^0.1 = 0.95067, z' = 2.5 / 1.4826 = 1.68623."""
        combi = normalised_maps(features, mask, reference, ["combi"])["combi"]
        assert combi[1, 1, 1] == pytest.approx(0.95067 * 1.68623, rel=1e-4)
        assert combi[1, 0, 0] == pytest.approx(-1.5 / 1.4826, rel=1e-5)  # k = 1 at A

    def test_without_healthy_brains_there_is_no_map(self, features, mask):
        assert normalised_maps(features, mask, {}, METHODS) == {}
