"""Voxels joined to blocks: their means, their place in space, and what they cover."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vae_loc.preprocessing.blocks import blocks_around

FEW = settings(max_examples=60, deadline=None, derandomize=True, database=None)
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


@FEW
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


@FEW
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


@FEW
@given(volumes())
def test_blocks_of_at_most_2_mm_cover_the_box_and_a_rim_of_one_block(volume):
    data, spacing_mm, box, centre = volume
    blocks = blocks_around(box, centre, data.shape, spacing_mm)
    for edge_mm, block_mm in zip(spacing_mm, blocks.spacing_mm(spacing_mm), strict=True):
        assert block_mm == edge_mm if edge_mm > 1 else 1.3 < block_mm < 2.001
    for span, part, before, after, size in zip(box, blocks.box, blocks.before, blocks.after, blocks.size, strict=True):
        assert size <= span.start - (part.start - before) < 2 * size
        assert size <= part.stop + after - span.stop < 2 * size


@FEW
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
