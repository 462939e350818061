"""What the network made of a brain, on the scan's grid and in its units."""

import numpy as np
import pytest
from support.phantoms import AFFINE, BALL, SHAPE, phantom, save

from vae_loc.model.network import load_model
from vae_loc.preprocessing.open_scan import open_scan
from vae_loc.scans.cases import find_cases
from vae_loc.scoring.expected_scan import expected_scan
from vae_loc.scoring.locate import locate


@pytest.fixture(scope="module")
def scored(tmp_path_factory, model_file):
    """A scored phantom with a bright ball."""
    path = save(tmp_path_factory.mktemp("expected") / "scan_t1.nii", phantom(AFFINE, SHAPE, ball=BALL)[0], AFFINE)
    return locate(open_scan(find_cases([path])[0]), load_model(model_file))


def test_it_has_the_grid_and_the_units_of_the_scan(scored):
    located = scored
    expected, brain = expected_scan(located), located.brain
    assert expected.shape == located.volume.data.shape
    assert not expected[~brain].any()
    low, high = np.percentile(located.volume.data[brain], (1, 99))
    assert low - (high - low) < np.median(expected[brain]) < high + (high - low)


def test_what_is_brighter_than_expected_is_brighter_than_it(scored):
    located = scored
    difference = located.volume.data - expected_scan(located)
    ball = located.maps["combi"] > np.quantile(located.maps["combi"][located.brain], 0.995)
    assert difference[ball].mean() > difference[located.brain].mean()


def test_bare_maps_have_the_same(scored):
    assert np.array_equal(expected_scan(scored.as_raw()), expected_scan(scored))
