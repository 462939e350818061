"""A moved brain is brought back, whatever its contrast and what of it is missing.

The mean of aligned brains is sharper than their plain mean, of their mean size and pose.
"""

import numpy as np
import pytest
import SimpleITK as sitk
from support.cubes import PIXEL_MM, moved, moved_cube, off_mm
from support.marks import full, some

from vae_loc.preprocessing.pose import centroid_mm, windowed
from vae_loc.preprocessing.registration import align, align_by_itk, build_template


@pytest.mark.parametrize("by", [moved(), *map(full, (moved(zoom=1.1), moved(turn_rad=0.15), moved(shift_mm=6.0)))])
def test_a_moved_brain_is_brought_back(brain_cube, template, by):
    found, fits = align(*moved_cube(brain_cube, by), template, 3.0)
    assert fits
    corners = np.array([[40.0, 40, 30, 1], [-40, 30, -30, 1], [30, -50, 20, 1]]).T
    assert np.abs((found - by) @ corners).max() < 1.0  # mm


TILTED = moved(zoom=0.92, turn_rad=0.2, shift_mm=8.0)


def test_a_tilted_brain_is_found(brain_cube, template):
    affine, fits = align(*moved_cube(brain_cube, TILTED), template, 3.0)
    assert fits
    assert off_mm(brain_cube, affine, TILTED) < 0.6


LOOKS = {
    "inverted": lambda v: -v,
    "folded": lambda v: np.abs(v - np.median(v)),
    "gamma": lambda v: np.maximum(v - v.min(), 0) ** 2,
    "noisy": lambda v: v + np.random.default_rng(0).normal(0, 0.5, v.shape),
    "shaded": lambda v: (v + 4) * np.linspace(0.6, 1.4, v.shape[1])[:, None],
}


@pytest.mark.parametrize("look", some(LOOKS, "folded"))
def test_any_contrast_noise_and_shading_align(brain_cube, template, look):
    data, mask = moved_cube(brain_cube, TILTED)
    affine, fits = align(LOOKS[look](data).astype(np.float32), mask, template, 3.0)
    assert fits
    assert off_mm(brain_cube, affine, TILTED) < 1.5


PARTS = {
    "left half": lambda mask: np.arange(len(mask))[:, None, None] < 32,
    "upper part": lambda mask: np.arange(len(mask)) > 24,
    "lower part": lambda mask: np.arange(len(mask)) < 40,
}


@pytest.mark.parametrize("part", some(PARTS, "left half"))
def test_a_part_of_a_brain_is_not_stretched_to_a_whole_one(brain_cube, template, part):
    mask = brain_cube.mask & PARTS[part](brain_cube.mask)
    affine, fits = align(brain_cube.data, mask, template, 3.0)
    assert fits
    assert off_mm(brain_cube, affine, np.eye(4)) < 3.0


@pytest.mark.parametrize("radius_mm", [full(15), 30])
@pytest.mark.parametrize("share", [0.0, full(1.3)], ids=["dark", "bright"])
def test_a_tumour_does_not_pull(brain_cube, template, radius_mm, share):
    low, high = np.percentile(brain_cube.data[brain_cube.mask], (1, 99))
    places = np.stack(np.indices(brain_cube.mask.shape), -1)
    tumour = np.linalg.norm(places - (22, 36, 36), axis=-1) * 3 < radius_mm
    data = np.where(tumour, low + share * (high - low), brain_cube.data).astype(np.float32)
    affine, _ = align(data, brain_cube.mask, template, 3.0)
    assert off_mm(brain_cube, affine, np.eye(4)) < 1.0


def test_masks_too_wide_or_too_tight_move_little(brain_cube, template):
    from scipy.ndimage import binary_dilation, binary_erosion

    for mask in (binary_erosion(brain_cube.mask), binary_dilation(brain_cube.mask)):
        data = np.where(brain_cube.mask, brain_cube.data, np.percentile(brain_cube.data[brain_cube.mask], 2))
        affine, fits = align(data.astype(np.float32), mask, template, 3.0)
        assert fits
        assert off_mm(brain_cube, affine, np.eye(4)) < 2.0


def test_the_same_brain_gives_the_same_numbers(brain_cube, template):
    first, _ = align(brain_cube.data, brain_cube.mask, template, 3.0)
    again, _ = align(brain_cube.data.copy(), brain_cube.mask.copy(), template.copy(), 3.0)
    np.testing.assert_array_equal(first, again)


@pytest.mark.full
def test_what_is_no_brain_is_left_where_it_is(template):
    data = np.random.default_rng(0).normal(size=template.shape).astype(np.float32)
    mask = np.zeros(template.shape, dtype=bool)
    mask[2:62, 2:6, 2:62] = True
    affine, fits = align(data, mask, template, 3.0)
    assert not fits
    np.testing.assert_array_equal(affine, np.eye(4))


LEANING = moved(zoom=0.95, turn_rad=0.1, shift_mm=5.0)


@pytest.fixture
def threads():
    """Set the threads that ITK's filters start with; put them back."""
    before = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    yield sitk.ProcessObject.SetGlobalDefaultNumberOfThreads
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(before)


@pytest.mark.parametrize("sign", [full(1), -1], ids=["same contrast", "inverted"])
def test_itk_finds_a_tilted_brain_in_any_contrast(brain_cube, template, sign):
    data, mask = moved_cube(brain_cube, LEANING)
    affine = align_by_itk(sign * data, mask, template, PIXEL_MM)
    assert off_mm(brain_cube, affine, LEANING) < 2.0 < off_mm(brain_cube, np.eye(4), LEANING)


def test_threads_change_no_number_of_itk(brain_cube, template, threads):
    brain = moved_cube(brain_cube, LEANING)
    affines = []
    for count in (1, 2):
        threads(count)
        affines.append(align_by_itk(*brain, template, PIXEL_MM))
    np.testing.assert_array_equal(*affines)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_itk_leaves_a_brain_where_it_is_without_a_template(brain_cube, value):
    flat = np.full(brain_cube.data.shape, value, dtype=np.float32)
    np.testing.assert_array_equal(align_by_itk(brain_cube.data, brain_cube.mask, flat, PIXEL_MM), np.eye(4))


BALANCED = [moved(shift_mm=9), moved(shift_mm=-9), moved(turn_rad=0.15), moved(turn_rad=-0.15)]


@pytest.fixture(scope="module")
def brains(brain_cube):
    """One brain in four poses, whose mean is its own."""
    return [moved_cube(brain_cube, by) for by in BALANCED]


def outline_ml(template):
    return np.count_nonzero(template > 0.15) * PIXEL_MM**3 / 1000


def test_a_template_of_moved_copies_is_nearer_to_the_brain_than_their_plain_mean(brain_cube, brains):
    own = windowed(brain_cube.data, brain_cube.mask)
    plain = np.mean([windowed(*brain) for brain in brains], axis=0)
    found = build_template(brains, PIXEL_MM)
    assert np.abs(found - own).mean() < 0.35 * np.abs(plain - own).mean()
    assert np.corrcoef(found.ravel(), own.ravel())[0, 1] > 0.97
    np.testing.assert_allclose(centroid_mm(found > 0.15, PIXEL_MM), centroid_mm(brain_cube.mask, PIXEL_MM), atol=1)


def test_a_template_has_the_mean_size(brain_cube):
    brains = [moved_cube(brain_cube, moved(zoom=zoom)) for zoom in (0.9, 0.96, 1.14)]
    assert outline_ml(build_template(brains, PIXEL_MM)) == pytest.approx(
        outline_ml(windowed(brain_cube.data, brain_cube.mask)), rel=0.04
    )


def test_a_template_is_not_changed_by_the_16_bits_of_a_model_file(template):
    assert template.dtype == np.float32
    assert np.array_equal(template, template.astype(np.float16))
