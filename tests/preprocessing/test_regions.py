"""Boxes, depths and components are those of brute force; openings and fillings those of scipy."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import binary_dilation, binary_fill_holes, binary_opening, maximum_filter
from scipy.spatial.distance import cdist
from skimage.segmentation import watershed

from vae_loc.preprocessing.regions import (
    bounding_box,
    boxed_affine,
    components,
    depth_mm,
    filled,
    flooded_from,
    highest_near,
    itk_image,
    largest_component,
    with_neighbours,
    without_thin_parts,
)

FACES = [step for step in itertools.product((-1, 0, 1), repeat=3) if sum(map(abs, step)) == 1]
CORNERS = [step for step in itertools.product((-1, 0, 1), repeat=3) if any(step)]


@st.composite
def masks(draw, *, empty=True):
    """Small masks of any density."""
    shape = draw(st.tuples(*[st.integers(1, 6)] * 3))
    density = draw(st.sampled_from([0.05, 0.2, 0.4, 0.7, 0.95]))
    mask = np.random.default_rng(draw(st.integers(0, 2**32 - 1))).random(shape) < density
    if not empty and not mask.any():
        mask[tuple(draw(st.integers(0, n - 1)) for n in shape)] = True
    return mask


def flooded(mask, steps):
    """The components of a mask, each a set of voxels, by flooding; in the order of their first voxels."""
    left = {tuple(voxel) for voxel in np.argwhere(mask).tolist()}
    found = []
    for seed in sorted(left):
        if seed not in left:
            continue
        left.remove(seed)
        component, edge = {seed}, [seed]
        while edge:
            i, j, k = edge.pop()
            for a, b, c in steps:
                near = (i + a, j + b, k + c)
                if near in left:
                    left.remove(near)
                    component.add(near)
                    edge.append(near)
        found.append(component)
    return found


def voxels_of(mask):
    return {tuple(voxel) for voxel in np.argwhere(mask).tolist()}


@given(masks(empty=False), st.tuples(*[st.integers(0, 3)] * 3))
def test_a_box_is_the_smallest_that_holds_the_mask_and_its_margin(mask, margin):
    box = bounding_box(mask, margin)
    for axis, span in enumerate(box):
        used = np.argwhere(mask)[:, axis]
        within = [n for n in range(mask.shape[axis]) if used.min() - margin[axis] <= n <= used.max() + margin[axis]]
        assert list(range(mask.shape[axis]))[span] == within
        assert span.step is None
    assert voxels_of(mask) == {tuple(np.add(voxel, [s.start for s in box])) for voxel in np.argwhere(mask[box])}


def test_a_box_without_a_margin_is_that_of_margin_0():
    mask = np.zeros((4, 5, 6), dtype=bool)
    mask[1:3, 2, 0] = True
    assert bounding_box(mask) == bounding_box(mask, (0, 0, 0)) == (slice(1, 3), slice(2, 3), slice(0, 1))


@given(masks(empty=False), st.integers(0, 2**32 - 1))
def test_voxels_of_a_cut_array_stay_where_they_were(mask, seed):
    affine = np.eye(4)
    affine[:3] = np.random.default_rng(seed).normal(size=(3, 4)) * 10
    given = affine.copy()
    box, cut = boxed_affine(mask, affine)
    assert box == bounding_box(mask, (1, 1, 1))
    whole = np.argwhere(mask)
    inside = np.argwhere(mask[box])
    np.testing.assert_allclose(inside @ cut[:3, :3].T + cut[:3, 3], whole @ affine[:3, :3].T + affine[:3, 3])
    assert np.array_equal(affine, given)


@given(masks(), st.sampled_from([1.0, 2.5, (1.0, 2.0, 3.0), (0.7, 0.7, 5.0)]))
def test_a_depth_is_the_distance_to_the_nearest_voxel_outside(mask, spacing_mm):
    """Brute force over all voxels of the array with one more on every side, which counts as outside."""
    found = depth_mm(mask, spacing_mm)
    padded = np.pad(mask, 1)
    sizes = np.broadcast_to(spacing_mm, 3)
    outside = np.argwhere(~padded) * sizes
    expected = np.zeros(mask.shape)
    for voxel in np.argwhere(mask):
        expected[tuple(voxel)] = cdist([(voxel + 1) * sizes], outside).min()
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert found.shape == mask.shape


@given(masks())
def test_the_largest_component_is_that_of_flooding_through_faces(mask):
    given = mask.copy()
    found = largest_component(mask)
    assert found.dtype == bool
    assert np.array_equal(mask, given)
    flooding = flooded(mask, FACES)
    if not flooding:
        assert not found.any()
        return
    largest = max(map(len, flooding))
    assert voxels_of(found) in [component for component in flooding if len(component) == largest]


def test_the_largest_component_of_one_is_a_copy():
    mask = np.ones((2, 2, 2), dtype=bool)
    found = largest_component(mask)
    found[0, 0, 0] = False
    assert mask.all()


@given(masks())
def test_components_are_those_of_flooding_through_corners(mask):
    numbers = components(mask)
    assert numbers.dtype == np.int32
    assert np.array_equal(numbers > 0, mask)
    expected = flooded(mask, CORNERS)
    assert sorted(np.unique(numbers[mask])) == list(range(1, len(expected) + 1))
    found = [voxels_of(numbers == number) for number in range(1, len(expected) + 1)]
    assert sorted(map(sorted, found)) == sorted(map(sorted, expected))


@pytest.mark.parametrize(("step", "faces", "corners"), [((1, 0, 0), 1, 1), ((1, 1, 0), 2, 1), ((1, 1, 1), 2, 1)])
def test_two_voxels_are_one_component_by_a_face_or_by_a_corner(step, faces, corners):
    mask = np.zeros((4, 4, 4), dtype=bool)
    mask[1, 1, 1] = mask[tuple(np.add(1, step))] = True
    assert np.count_nonzero(largest_component(mask)) == (2 if faces == 1 else 1)
    assert components(mask).max() == corners


@given(st.integers(0, 2**32 - 1))
def test_floods_meet_where_those_of_scikit_image_meet(seed):
    heights = np.random.default_rng(seed).random((9, 8, 7), dtype=np.float32)
    sources = np.zeros(heights.shape, dtype=np.int32)
    sources[1, 1, 1], sources[7, 6, 5], sources[4, 4, 2] = 1, 2, 3
    assert np.array_equal(flooded_from(sources, heights), watershed(heights, sources, connectivity=3))


@given(masks())
def test_thin_parts_are_those_that_scipy_s_opening_takes_off(mask):
    before = mask.copy()
    found = without_thin_parts(mask)
    assert found.dtype == bool
    assert np.array_equal(found, binary_opening(mask))
    assert np.array_equal(mask, before)


def test_a_thin_bridge_goes_and_what_it_joins_stays():
    lumps = np.zeros((5, 5, 13), dtype=bool)
    lumps[2, 2, 1:4] = lumps[2, 1:4, 2] = lumps[1:4, 2, 2] = True
    lumps |= lumps[..., ::-1]
    bridged = lumps.copy()
    bridged[2, 2] = True
    assert np.array_equal(without_thin_parts(bridged), lumps)


@given(masks())
def test_holes_are_those_that_scipy_fills(mask):
    found = filled(mask)
    assert found.dtype == bool
    assert np.array_equal(found, binary_fill_holes(mask))


@given(masks(), st.integers(1, 3))
def test_the_greatest_value_near_a_voxel_is_that_of_scipy_s_filter(mask, reach):
    values = np.where(mask, np.arange(mask.size, dtype=np.float32).reshape(mask.shape) % 7, np.float32(-1))
    assert np.array_equal(highest_near(values, reach), maximum_filter(values, 2 * reach + 1, mode="nearest"))


@given(masks())
def test_a_mask_with_neighbours_is_scipy_s_dilation_in_space_and_in_a_plane(mask):
    for of in (mask, mask[0]):
        assert np.array_equal(with_neighbours(of), binary_dilation(of))


def test_an_image_for_itk_has_the_axes_of_the_array():
    values = np.random.default_rng(0).random((5, 7, 4)).astype(np.float32)
    for array in (values, values > 0.5):
        image = itk_image(array)
        assert image.GetSize() == array.shape
        assert image.GetPixel(3, 5, 2) == array[3, 5, 2]
