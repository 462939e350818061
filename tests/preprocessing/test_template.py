"""The mean of aligned brains: sharper than their plain mean, of their mean size and pose."""

import numpy as np
import pytest
from support.cubes import PIXEL_MM, moved, moved_cube

from vae_loc.preprocessing.pose import centroid_mm, windowed
from vae_loc.preprocessing.template import build_template

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
