"""A template at several resolutions: its values, derivatives and curves are those of plain code."""

import numpy as np
import pytest
from scipy.ndimage import map_coordinates
from skimage.measure import block_reduce

from vae_loc.preprocessing.pose import BRAIN_OFFSET
from vae_loc.preprocessing.resampling import block_means
from vae_loc.preprocessing.template_levels import KNOTS, NORM_MM, known, sampled, template_levels

SIZE, PIXEL_MM = 40, 3.0
AXES = np.meshgrid(*[(np.arange(SIZE) - (SIZE - 1) / 2) * PIXEL_MM] * 3, indexing="ij")


@pytest.fixture(scope="module")
def smooth():
    """A smooth head-like blob, up to 1.25 high, about 80 mm wide; the cube goes on around it."""
    x, y, z = AXES
    blob = 1.25 * np.exp(-(((x - 3) / 20) ** 2 + ((y + 2) / 18) ** 2 + (z / 16) ** 2))
    return np.where(blob > 0.02, blob, 0).astype(np.float32)


def small_affine(scale, seed=0):
    """The identity and a motion: linear part of `scale`, shift of 60 mm times `scale`."""
    affine = np.eye(4)
    affine[:3] += scale * np.random.default_rng(seed).normal(size=(3, 4)) * (1, 1, 1, NORM_MM)
    return affine


@pytest.mark.parametrize("block", [1, 2, 4])
def test_joined_voxels_are_their_mean(block):
    image = np.random.default_rng(0).random((SIZE,) * 3, dtype=np.float32)
    np.testing.assert_allclose(block_means(image, (block,) * 3), block_reduce(image, (block,) * 3, np.mean), rtol=1e-5)


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("shift_mm", [(60, 0, -50), (-60, 40, 50)])
def test_an_image_is_sampled_as_scipy_interpolates_it_and_is_0_outside(smooth, seed, shift_mm):
    affine = small_affine(0.2, seed)
    affine[:3, 3] = shift_mm  # some points leave the cube
    for level in template_levels(smooth, PIXEL_MM):
        image = np.random.default_rng(seed).random((SIZE // level.block,) * 3, dtype=np.float32)
        at = level.points @ affine[:3, :3].T + affine[:3, 3]
        pixels = at / level.pixel_mm + (len(image) - 1) / 2
        expected = map_coordinates(image, pixels.T, order=1, mode="grid-constant")
        assert (expected == 0).any()
        np.testing.assert_allclose(sampled(image, level, affine), expected, atol=2e-3)


def test_points_are_spread_evenly_over_the_brain(smooth):
    """All voxels of the coarse level, every second and fourth of the finer ones."""
    for level, every in zip(template_levels(smooth, PIXEL_MM), (1, 2, 4), strict=True):
        small = block_reduce(smooth, (level.block,) * 3, np.mean)
        assert level.pixel_mm == level.block * PIXEL_MM
        values = sampled(small, level, np.eye(4))
        np.testing.assert_array_equal(level.brain, values > BRAIN_OFFSET)
        assert np.count_nonzero(level.brain) == pytest.approx(np.count_nonzero(small > BRAIN_OFFSET) / every, rel=0.02)


def test_steepest_descent_is_how_a_small_motion_changes_the_template(smooth):
    """(T((1 + d) x) - T((1 - d) x)) / 2 at all points; d is a motion of coordinates in units of 60 mm."""
    change = small_affine(0.001) - np.eye(4)
    motion = (change[:3] * (NORM_MM, NORM_MM, NORM_MM, 1)).ravel()
    for level in template_levels(smooth, PIXEL_MM):
        small = block_means(smooth, (level.block,) * 3)
        there, back = (sampled(small, level, np.eye(4) + sign * change) for sign in (1, -1))
        expected = (there - back) / 2
        assert np.abs(level.steepest @ motion - expected).mean() < 0.02 * np.abs(expected).mean()


def test_the_columns_of_the_curve_give_every_piecewise_linear_curve_of_the_template(smooth):
    heights = np.random.default_rng(0).normal(size=len(KNOTS))
    for level in template_levels(smooth, PIXEL_MM):
        values = sampled(block_means(smooth, (level.block,) * 3), level, np.eye(4))
        curved = level.shades[:, : len(KNOTS)] @ heights
        np.testing.assert_allclose(curved, np.interp(values, KNOTS, heights), atol=1e-4)


def test_the_columns_of_the_shading_are_the_template_times_a_polynomial(smooth):
    """Order 1 at the coarse level, 2 at the finest: 3 and 9 terms without the constant, which the curve has."""
    levels = template_levels(smooth, PIXEL_MM)
    for level, order in ((levels[0], 1), (levels[-1], 2)):
        x, y, z = (level.points / NORM_MM).T
        terms = [x, y, z] if order == 1 else [x, y, z, x * x, x * y, x * z, y * y, y * z, z * z]
        values = sampled(block_means(smooth, (level.block,) * 3), level, np.eye(4))
        np.testing.assert_allclose(level.shades[:, len(KNOTS) :], values[:, None] * np.stack(terms, 1), atol=1e-5)


def test_an_image_is_known_between_its_limits(smooth):
    level = template_levels(smooth, PIXEL_MM)[-1]
    affine = small_affine(0.1)
    limits = np.array([[-np.inf, -20, -np.inf], [15, np.inf, np.inf]], dtype=np.float32)
    at = level.points @ affine[:3, :3].T + affine[:3, 3]
    found = known(level, affine, limits)
    assert set(np.unique(found)) == {0, 1}
    clear = (np.abs(at[:, 0] - 15) > 1e-3) & (np.abs(at[:, 1] + 20) > 1e-3)
    np.testing.assert_array_equal(found[clear], ((at[:, 0] < 15) & (at[:, 1] > -20))[clear])
    assert known(level, affine, np.array([[-np.inf] * 3, [np.inf] * 3], dtype=np.float32)).all()


def test_a_template_that_was_changed_in_place_has_new_levels(smooth):
    template = smooth.copy()
    before = template_levels(template, PIXEL_MM)
    template *= 2
    after = template_levels(template, PIXEL_MM)
    assert after[-1].steepest.max() == pytest.approx(2 * before[-1].steepest.max())
