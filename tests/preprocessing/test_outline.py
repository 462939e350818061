"""The outline of a mask: how it overlaps the mean brain's, and where it is cut straight."""

import numpy as np
import pytest

from vae_loc.preprocessing.outline import cut_faces, outline_dice


@pytest.fixture
def ball():
    return np.linalg.norm(np.indices((21, 21, 21)) - 10, axis=0) < 9


def test_a_round_mask_is_cut_nowhere_and_a_half_where_it_ends(ball):
    assert not cut_faces(ball).any()
    for axis in range(3):
        half = ball & (np.indices(ball.shape)[axis] <= 10)
        assert cut_faces(half).tolist() == [[False, one == axis] for one in range(3)]


def test_dice_is_that_of_the_two_masks(ball):
    template = np.where(ball, 1.0, 0.0).astype(np.float32)
    assert outline_dice(ball, template) == 1
    half = ball & (np.indices(ball.shape)[0] <= 10)
    assert outline_dice(half, template) == pytest.approx(2 * half.sum() / (half.sum() + ball.sum()))
    assert outline_dice(np.zeros_like(ball), template) == 0
