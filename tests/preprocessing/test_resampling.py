"""A map on another grid: the values of scipy's linear interpolation, and a low-pass of the resolution asked for."""

import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from vae_loc.preprocessing.resampling import (
    FWHM_PER_SIGMA,
    Grid,
    doubled,
    interpolated,
    itk_image,
    low_passed,
    lowpass_sigmas,
    resampled,
)


@pytest.fixture
def values():
    return np.random.default_rng(0).random((9, 11, 7), dtype=np.float32)


def random_affine(seed):
    rng = np.random.default_rng(seed)
    affine = np.eye(4)
    affine[:3, :3] = np.eye(3) + 0.3 * rng.normal(size=(3, 3))
    affine[:3, 3] = rng.normal(size=3) * 3
    return affine


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("order", ["C", "F"])
def test_interpolation_is_that_of_scipy(values, seed, order):
    target2source, shape = random_affine(seed), (8, 6, 12)
    found = interpolated(np.asarray(values, order=order), target2source, shape)
    indices = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij")).reshape(3, -1)
    places = target2source[:3, :3] @ indices + target2source[:3, 3:]
    expected = map_coordinates(values, places, order=1, mode="grid-constant").reshape(shape)
    assert (found.shape, found.dtype) == (shape, np.float32)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_grid_onto_itself_changes_nothing(values):
    affine = random_affine(1) @ np.diag([2, 3, 4, 1])
    np.testing.assert_allclose(resampled(values, affine, Grid(values.shape, affine, 3.0)), values, atol=1e-5)


def test_a_grid_that_is_cut_has_the_values_of_the_whole(values):
    affine = random_affine(2)
    shifted = affine.copy()
    shifted[:3, 3] += affine[:3, :3] @ [2, 1, 3]
    np.testing.assert_allclose(
        resampled(values, affine, Grid((4, 5, 3), shifted, 1.0)), values[2:6, 1:6, 3:6], atol=1e-5
    )


def test_half_the_pixel_has_the_values_of_scipy_between_the_pixels_and_the_nearest_beyond_the_last(values):
    found = doubled(values, np.ones(values.shape, dtype=bool))
    along = [np.clip((np.arange(2 * n) - 0.5) / 2, 0, n - 1) for n in values.shape]
    expected = map_coordinates(values, np.meshgrid(*along, indexing="ij"), order=1)
    assert (found.shape, found.dtype) == (tuple(2 * n for n in values.shape), np.float32)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_half_the_pixel_is_interpolated_among_the_voxels_of_a_mask_alone(values):
    mask = np.zeros(values.shape, dtype=bool)
    mask[3:6, 4:8, 2:5] = True
    outside = np.where(mask, values, np.nan)
    found = doubled(outside, mask)
    assert np.isfinite(found).all()
    np.testing.assert_allclose(doubled(np.where(mask, np.float32(2), np.nan), mask)[6:12, 8:16, 4:10], 2, rtol=1e-6)


def test_an_image_for_itk_has_the_axes_of_the_array(values):
    image = itk_image(values)
    assert image.GetSize() == values.shape
    assert image.GetPixel(3, 5, 2) == values[3, 5, 2]


@pytest.mark.parametrize(("spacing", "expected_fwhm"), [((1.0, 3.0, 5.0), (np.sqrt(8), 0, 0)), ((3.0,) * 3, (0, 0, 0))])
def test_a_low_pass_lacks_what_the_voxels_themselves_blur(spacing, expected_fwhm):
    """FWHM^2 of the low-pass and of a voxel add up to that of a canonical pixel; a coarser voxel is left alone."""
    fwhm = np.array(lowpass_sigmas(spacing, 3.0)) * FWHM_PER_SIGMA * spacing
    np.testing.assert_allclose(fwhm, expected_fwhm)


def test_a_low_pass_has_its_sigma_along_each_axis():
    point = np.zeros((41, 41, 41), dtype=np.float32)
    point[20, 20, 20] = 1
    blurred = low_passed(point, (1.0, 2.0, 3.0))
    place = np.arange(41) - 20
    assert blurred.sum() == pytest.approx(1, rel=1e-5)
    for axis, sigma in enumerate((1.0, 2.0, 3.0)):
        profile = blurred.sum(axis=tuple({0, 1, 2} - {axis}))
        assert np.sqrt((profile * place**2).sum()) == pytest.approx(sigma, rel=0.03)  # cut at 3 sigma
