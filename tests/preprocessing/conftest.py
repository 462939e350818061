"""A real brain on the canonical grid."""

from __future__ import annotations

import pytest
from support.cubes import PIXEL_MM
from support.places import SAMPLES

from vae_loc.preprocessing.brain_mask import find_brain
from vae_loc.preprocessing.canonical import smooth_brain, to_canonical
from vae_loc.preprocessing.registration import build_template
from vae_loc.scans.volume import read_volume


@pytest.fixture(scope="session")
def brain_cube():
    """A real brain on a cube of 3 mm, in the pose of its scanner."""
    volume = read_volume(SAMPLES / "IXI012_t1.nii.gz")
    brain, _ = find_brain(volume, SAMPLES / "IXI012_brainmask.nii.gz")
    return to_canonical(smooth_brain(volume, brain))


@pytest.fixture(scope="session")
def template(brain_cube):
    """A template of one brain: where it lies in that brain is known exactly."""
    return build_template([(brain_cube.data, brain_cube.mask)], PIXEL_MM)
