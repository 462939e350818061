"""What is aligned of a brain, its centroid and outline, and which affines may take one adult's head to another's."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from vae_loc.preprocessing.pose import (
    MAX_ANGLE_RAD,
    MAX_SHIFT_MM,
    MAX_STRETCH,
    MAX_ZOOM,
    centroid_mm,
    cut_faces,
    outline_dice,
    plausible,
    windowed,
)


@pytest.fixture
def brain():
    rng = np.random.default_rng(0)
    return rng.gamma(2, 30, (12, 12, 12)).astype(np.float32), rng.random((12, 12, 12)) < 0.6


@pytest.mark.parametrize(("gain", "offset"), [(1, 0), (1e-3, 0), (1e4, -3e5)])
def test_a_windowed_brain_reaches_from_0_3_to_1_3_whatever_its_scale(brain, gain, offset):
    data, mask = brain
    result = windowed((gain * data + offset).astype(np.float32), mask)
    np.testing.assert_allclose(result, windowed(data, mask), atol=2e-4)
    assert result.dtype == np.float32
    assert (result[mask].min(), result[mask].max()) == pytest.approx((0.3, 1.3))
    assert 0.005 < np.mean(result[mask] == result.max()) < 0.015  # the brightest percent is cut
    assert not result[~mask].any()


def test_a_brain_of_one_intensity_is_windowed_to_its_outline(brain):
    _, mask = brain
    np.testing.assert_allclose(windowed(np.full(mask.shape, 7, np.float32), mask), 0.3 * mask, rtol=1e-6)


@pytest.mark.parametrize("pixel_mm", [1.0, 3.0])
def test_a_centroid_is_that_of_the_mask_s_voxels_from_the_middle_of_the_cube(brain, pixel_mm):
    _, mask = brain
    np.testing.assert_allclose(centroid_mm(mask, pixel_mm), pixel_mm * (np.argwhere(mask) - 5.5).mean(axis=0))
    assert not centroid_mm(np.zeros_like(mask), pixel_mm).any()


@given(st.integers(0, 2**32 - 1))
def test_an_affine_is_plausible_if_zooms_stretch_turn_and_shift_are_within_their_bounds(seed):
    """A = R S, R a rotation by a known angle, S a stretch by known zooms along axes of any direction."""
    rng = np.random.default_rng(seed)
    axis = rng.standard_normal(3)
    angle = rng.uniform(0, 1.3 * MAX_ANGLE_RAD)
    zooms = np.exp(rng.uniform(-1.1, 1.1, 3) * np.log(MAX_ZOOM))
    shift_mm = rng.standard_normal(3)
    shift_mm *= rng.uniform(0, 1.2 * MAX_SHIFT_MM) / np.linalg.norm(shift_mm)
    along = Rotation.random(rng=rng).as_matrix()
    affine, expected_mm = np.eye(4), rng.uniform(-50, 50, 3)
    affine[:3, :3] = (
        Rotation.from_rotvec(angle * axis / np.linalg.norm(axis)).as_matrix() @ along @ np.diag(zooms) @ along.T
    )
    affine[:3, 3] = expected_mm + shift_mm
    of_bounds = np.array(
        [
            zooms.max() / MAX_ZOOM,
            1 / zooms.min() / MAX_ZOOM,
            zooms.max() / zooms.min() / MAX_STRETCH,
            angle / MAX_ANGLE_RAD,
            np.linalg.norm(shift_mm) / MAX_SHIFT_MM,
        ]
    )
    assume(np.abs(of_bounds - 1).min() > 1e-6)
    assert plausible(affine, expected_mm) == (of_bounds < 1).all()


@pytest.mark.parametrize("axis", range(3))
def test_a_mirrored_head_is_implausible(axis):
    affine = np.eye(4)
    assert plausible(affine)
    affine[axis, axis] = -1
    assert not plausible(affine)


@pytest.mark.parametrize("entry", [(0, 0), (1, 3)])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_is_implausible(entry, value):
    affine = np.eye(4)
    affine[entry] = value
    assert not plausible(affine)


def test_a_shift_counts_from_the_one_that_the_outlines_suggest():
    affine = np.eye(4)
    affine[:3, 3] = (0, 0, 50)
    assert not plausible(affine)
    assert plausible(affine, np.array([0.0, 0, 45]))


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
