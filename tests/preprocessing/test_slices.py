"""The slices of a brain, and their way back into its volume."""

import numpy as np
import pytest

from vae_loc.preprocessing.canonical import CanonicalVolume, smooth_brain, to_canonical
from vae_loc.preprocessing.resampling import Grid
from vae_loc.preprocessing.slices import SliceStack, from_slices, substantial, to_slices


@pytest.fixture
def canonical(scan_volume):
    return to_canonical(smooth_brain(scan_volume, scan_volume.data > 0))


def test_slices_put_back_are_the_volume(canonical):
    stack = to_slices(canonical)
    back = from_slices(stack.pixels, stack, canonical)
    assert np.array_equal(back[:, :, stack.indices], canonical.data[:, :, stack.indices])
    empty = np.setdiff1d(np.arange(canonical.mask.shape[2]), stack.indices)
    assert not canonical.mask[:, :, empty].any()
    assert not back[:, :, empty].any()


def test_every_slice_holds_brain_and_lies_above_the_one_before(canonical):
    stack = to_slices(canonical)
    assert stack.mask.any(axis=(1, 2)).all()
    np.testing.assert_allclose(np.diff(stack.positions_mm), 3)
    middle = (stack.pixels.shape[1] - 1) / 2
    height = canonical.grid.affine[2] @ [middle, middle, stack.indices[0], 1]
    assert stack.positions_mm[0] == pytest.approx(height)


def test_a_pixel_is_the_voxel_to_the_right_and_to_the_front():
    data = np.arange(4**3, dtype=np.float32).reshape(4, 4, 4)
    stack = to_slices(CanonicalVolume(data, np.ones(data.shape, bool), Grid(data.shape, np.eye(4), 1.0)))
    assert stack.pixels[3, 1, 2] == data[1, 2, 3]


def stack_of(*counts, size=64):
    mask = np.zeros((len(counts), size, size), dtype=bool)
    for one, count in zip(mask, counts, strict=True):
        one.ravel()[:count] = True
    return SliceStack(mask.astype(np.float32), mask, np.arange(float(len(counts))), np.arange(len(counts)))


def test_a_sliver_does_not_count_unless_there_is_nothing_else():
    assert substantial(stack_of(19, 20, 500)).tolist() == [False, True, True]
    assert substantial(stack_of(4, 5, size=32)).tolist() == [False, True]  # a quarter of the pixels
    assert substantial(stack_of(3, 1)).tolist() == [True, True]
