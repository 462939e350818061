"""Baselines are scores: the more unusual, the greater."""

import numpy as np
import pytest
from support.phantoms import AFFINE, BALL, SHAPE, phantom, save
from support.scans import opened

from vae_loc.evaluation.baselines import BASELINES, baseline_maps
from vae_loc.scoring.aligned_scan import canonical_of


@pytest.fixture
def maps(tmp_path, trained):
    """Return the baselines of a phantom whose ball has a gain, and where the ball is."""

    def of(gain):
        data, _ = phantom(AFFINE, SHAPE, ball=BALL, radius_mm=14, gain=gain)
        scan = opened(save(tmp_path / f"p_{gain}.nii.gz", data, AFFINE))
        world = np.stack(np.meshgrid(*[np.arange(n) for n in SHAPE], indexing="ij"), -1) @ AFFINE[:3, :3].T
        ball = np.linalg.norm(world + AFFINE[:3, 3] - BALL, axis=-1) < 8
        maps = baseline_maps(scan.volume, scan.brain, canonical_of(scan, trained), trained.reference, contrast="t1")
        return maps, ball, scan.brain

    return of


@pytest.mark.parametrize(("gain", "sign", "other"), [(2.0, "bright", "dark"), (0.4, "dark", "bright")])
def test_place_z_is_a_magnitude_and_each_sign_has_its_own(maps, gain, sign, other):
    of, ball, brain = maps(gain)
    assert set(of) == set(BASELINES)
    for name in ("place-z", "place-z-bright", "place-z-dark"):
        assert of[name].min() >= 0
    assert of["place-z"][ball].mean() > 3 * of["place-z"][brain & ~ball].mean()
    assert of[f"place-z-{sign}"][ball].mean() > 10 * of[f"place-z-{other}"][ball].mean()
    np.testing.assert_allclose(of["place-z-bright"] + of["place-z-dark"], of["place-z"], atol=1e-4)
