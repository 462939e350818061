"""A map on another grid: the values of scipy's linear interpolation, and a low-pass of the resolution asked for."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import map_coordinates

from vae_loc.preprocessing.resampling import (
    FWHM_PER_SIGMA,
    Grid,
    blocks_around,
    doubled,
    interpolated,
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


EDGES_MM = st.sampled_from([0.4, 0.5, 0.6667, 0.7, 0.9, 1.0, 1.2, 2.0, 5.0])


@st.composite
def volumes(draw):
    """Small noise, its spacing, a box in it and a place that is no voxel's centre."""
    shape = draw(st.tuples(*[st.integers(2, 14)] * 3))
    ends = [sorted((draw(st.integers(0, n - 1)), draw(st.integers(0, n - 1)))) for n in shape]
    box = tuple(slice(first, last + 1) for first, last in ends)
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    centre = np.array([rng.integers(n) + rng.uniform(0.1, 0.9) for n in shape])
    return rng.random(shape, dtype=np.float32), draw(st.tuples(*[EDGES_MM] * 3)), box, centre


def voxels_of_blocks(blocks):
    """Yield each block's index and its voxels (N, 3), also those beyond the volume."""
    first = [span.start - beyond for span, beyond in zip(blocks.box, blocks.before, strict=True)]
    last = [span.stop + beyond for span, beyond in zip(blocks.box, blocks.after, strict=True)]
    counts = [(b - a) // size for a, b, size in zip(first, last, blocks.size, strict=True)]
    for block in itertools.product(*map(range, counts)):
        spans = [range(a + n * size, a + (n + 1) * size) for a, n, size in zip(first, block, blocks.size, strict=True)]
        yield block, np.array(list(itertools.product(*spans)))


@given(volumes())
def test_means_are_those_of_a_plain_loop_with_0_beyond_the_volume(volume):
    data, spacing_mm, box, centre = volume
    blocks = blocks_around(box, centre, data.shape, spacing_mm)
    means = blocks.means(data[blocks.box])
    assert means.dtype == np.float32
    expected = {
        block: sum(data[tuple(v)] for v in voxels if (v >= 0).all() and (v < data.shape).all()) / len(voxels)
        for block, voxels in voxels_of_blocks(blocks)
    }
    assert set(np.ndindex(means.shape)) == set(expected)
    np.testing.assert_allclose(means.ravel(), [expected[block] for block in np.ndindex(means.shape)], atol=1e-6)


@pytest.mark.parametrize(
    "edge_mm",
    [
        1.0,
        0.4,
        0.25,
    ],
)
def test_a_mask_of_ones_has_means_of_1(edge_mm):
    count = int(12 / edge_mm)
    blocks = blocks_around((slice(0, count),) * 3, np.full(3, count / 2 - 0.3), (count,) * 3, (edge_mm,) * 3)
    means = blocks.means(np.ones((count,) * 3, dtype=np.uint8))
    np.testing.assert_allclose(means[2:-2, 2:-2, 2:-2], 1, rtol=1e-6)


@given(volumes())
def test_a_block_lies_at_the_middle_of_its_voxels(volume):
    data, spacing_mm, box, centre = volume
    affine = np.eye(4)
    affine[:3] = np.random.default_rng(0).normal(size=(3, 4)) * 10
    given = affine.copy()
    blocks = blocks_around(box, centre, data.shape, spacing_mm)
    of_blocks = blocks.affine(affine)
    for block, voxels in voxels_of_blocks(blocks):
        middle = affine[:3, :3] @ voxels.mean(axis=0) + affine[:3, 3]
        np.testing.assert_allclose(of_blocks[:3, :3] @ block + of_blocks[:3, 3], middle, atol=1e-9)
    assert np.array_equal(affine, given)


@given(volumes())
def test_blocks_of_at_most_2_mm_cover_the_box_and_a_rim_of_one_block(volume):
    data, spacing_mm, box, centre = volume
    blocks = blocks_around(box, centre, data.shape, spacing_mm)
    for edge_mm, block_mm in zip(spacing_mm, blocks.spacing_mm(spacing_mm), strict=True):
        assert block_mm == edge_mm if edge_mm > 1 else 1.3 < block_mm < 2.001
    for span, part, before, after, size in zip(box, blocks.box, blocks.before, blocks.after, blocks.size, strict=True):
        assert size <= span.start - (part.start - before) < 2 * size
        assert size <= part.stop + after - span.stop < 2 * size


@given(volumes(), st.integers(0, 2))
def test_a_flipped_volume_has_the_flipped_blocks(volume, axis):
    data, spacing_mm, box, centre = volume
    blocks = blocks_around(box, centre, data.shape, spacing_mm)
    count = data.shape[axis]
    mirrored, mirrored_centre = list(box), centre.copy()
    mirrored[axis] = slice(count - box[axis].stop, count - box[axis].start)
    mirrored_centre[axis] = count - 1 - centre[axis]
    flipped = np.flip(data, axis)
    flipped_blocks = blocks_around(tuple(mirrored), mirrored_centre, data.shape, spacing_mm)
    np.testing.assert_allclose(
        flipped_blocks.means(flipped[flipped_blocks.box]), np.flip(blocks.means(data[blocks.box]), axis), atol=1e-6
    )
