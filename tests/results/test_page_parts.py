"""The scan of a page, and the expectation beside it, lie where the scan lies and in its units."""

import base64
import gzip

import nibabel as nib
import numpy as np
import pytest
from support.phantoms import AFFINE, BALL, SHAPE, centred, phantom, save

from vae_loc.preprocessing.open_scan import open_scan
from vae_loc.results.page_parts import MAX_SHOWN_VOXELS, crop_to, expected_scan, layer
from vae_loc.scans.cases import find_cases
from vae_loc.scans.volume import read_volume
from vae_loc.scoring.locate import locate


def test_a_scan_of_fine_voxels_is_joined_to_blocks_in_its_place(tmp_path):
    shape = (330, 330, 330)
    affine = centred(np.diag([-0.5, 0.5, 0.55]), shape)
    data = np.zeros(shape, dtype=np.float32)
    data[100:104, 200:204, 250:254] = 7
    data[0, 0, 0] = 1
    volume = read_volume(save(tmp_path / "fine.nii", data, affine))
    crop = crop_to(np.ones(shape, dtype=bool), volume)
    image = nib.Nifti1Image.from_bytes(gzip.decompress(base64.b64decode(layer(data, crop, low=0, high=7))))
    assert np.prod(image.shape) <= MAX_SHOWN_VOXELS
    centre_mm = (image.affine @ np.append(np.argwhere(image.get_fdata() > 3).mean(axis=0), 1))[:3]
    assert np.allclose(centre_mm, (affine @ [101.5, 201.5, 251.5, 1])[:3], atol=0.6)


@pytest.fixture
def located(tmp_path, trained):
    """A scored phantom with a bright ball."""
    path = save(tmp_path / "scan_t1.nii", phantom(AFFINE, SHAPE, ball=BALL)[0], AFFINE)
    return locate(open_scan(find_cases([path])[0]), trained)


def test_the_expectation_has_the_grid_and_the_units_of_the_scan(located):
    expected, brain = expected_scan(located), located.brain
    assert expected.shape == located.volume.data.shape
    assert not expected[~brain].any()
    low, high = np.percentile(located.volume.data[brain], (1, 99))
    assert low - (high - low) < np.median(expected[brain]) < high + (high - low)


def test_what_is_brighter_than_expected_is_brighter_than_the_expectation(located):
    difference = located.volume.data - expected_scan(located)
    ball = located.maps["combi"] > np.quantile(located.maps["combi"][located.brain], 0.995)
    assert difference[ball].mean() > difference[located.brain].mean()
