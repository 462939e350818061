"""SimpleITK's mutual information: any contrast, and the same numbers on any number of threads."""

import numpy as np
import pytest
import SimpleITK as sitk
from support.cubes import PIXEL_MM, moved, moved_cube, off_mm

from vae_loc.preprocessing.itk_registration import align_by_itk

TILTED = moved(zoom=0.95, turn_rad=0.1, shift_mm=5.0)


@pytest.fixture
def threads():
    """Set the threads that ITK's filters start with; put them back."""
    before = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    yield sitk.ProcessObject.SetGlobalDefaultNumberOfThreads
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(before)


@pytest.mark.parametrize("sign", [1, -1], ids=["same contrast", "inverted"])
def test_a_tilted_brain_is_found_in_any_contrast(brain_cube, template, sign):
    data, mask = moved_cube(brain_cube, TILTED)
    affine = align_by_itk(sign * data, mask, template, PIXEL_MM)
    assert off_mm(brain_cube, affine, TILTED) < 2.0 < off_mm(brain_cube, np.eye(4), TILTED)


def test_threads_change_no_number(brain_cube, template, threads):
    brain = moved_cube(brain_cube, TILTED)
    affines = []
    for count in (1, 2):
        threads(count)
        affines.append(align_by_itk(*brain, template, PIXEL_MM))
    np.testing.assert_array_equal(*affines)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_template_without_contrast_leaves_a_brain_where_it_is(brain_cube, value):
    flat = np.full(brain_cube.data.shape, value, dtype=np.float32)
    np.testing.assert_array_equal(align_by_itk(brain_cube.data, brain_cube.mask, flat, PIXEL_MM), np.eye(4))
