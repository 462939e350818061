"""Lesions are made inside a brain, of either sign, and leave the rest of it as it is."""

import numpy as np
import pytest
from support.phantoms import AFFINE, SHAPE, phantom, save
from support.scans import opened

from vae_loc.scoring.aligned_scan import canonical_of
from vae_loc.training import made_lesions
from vae_loc.training.made_lesions import LESION_KINDS, made_lesion


@pytest.fixture(scope="module")
def host(trained, tmp_path_factory):
    path = save(tmp_path_factory.mktemp("host") / "host_t1.nii.gz", phantom(AFFINE, SHAPE)[0], AFFINE)
    return canonical_of(opened(path), trained)


def test_the_same_seed_makes_the_same_lesion(host):
    first, second = (made_lesion(host, host, np.random.default_rng(3)) for _ in range(2))
    assert first[0].data.tobytes() == second[0].data.tobytes()
    assert first[0].fine.tobytes() == second[0].fine.tobytes()
    assert np.array_equal(first[1], second[1])


@pytest.mark.parametrize("push", [0.0, 1.0])
@pytest.mark.parametrize("kind", LESION_KINDS)
def test_the_rest_of_the_brain_is_untouched(host, monkeypatch, kind, push):
    monkeypatch.setattr(made_lesions, "PUSHED", push)
    monkeypatch.setattr(made_lesions, "RADIUS_MM", (6.0, 9.0))
    sick, lesion = made_lesion(host, host, np.random.default_rng(1), {kind: 1.0})
    changed = sick.data != host.data
    assert changed[lesion].mean() > 0.9
    assert lesion.any()
    assert not changed[~host.mask].any()
    # within the lesion's soft border, or in reach of what is pushed, at each pixel
    for scale, of in ((1, changed), (2, sick.fine != host.fine)):
        away = np.linalg.norm(np.argwhere(of) - scale * np.argwhere(lesion).mean(axis=0), axis=1)
        assert 3 / scale * away.max() < 40
    assert np.array_equal(sick.mask, host.mask)


def test_lesions_are_brighter_as_often_as_darker(host):
    rng, brighter = np.random.default_rng(0), 0
    for _ in range(20):
        sick, lesion = made_lesion(host, host, rng, {"shifted": 1.0})
        brighter += (sick.data - host.data)[lesion].mean() > 0
    assert 5 <= brighter <= 15


def test_without_a_push_the_same_lesion_changes_fewer_pixels(host, monkeypatch):
    monkeypatch.setattr(made_lesions, "PUSHED", 1.0)
    (pushed, lesion), (still, same) = (
        made_lesion(host, host, np.random.default_rng(1), {"fluid": 1.0}, **of) for of in ({}, {"push": (0.0, 0.0)})
    )
    assert np.array_equal(lesion, same)
    assert np.count_nonzero(still.data != host.data) < np.count_nonzero(pushed.data != host.data)
