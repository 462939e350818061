"""Lesions transplanted into a healthy brain."""

import numpy as np
import pytest

from benchmarks.transplants import KINDS, Glioma, lesions_in
from vae_loc.preprocessing.canonical import CanonicalVolume, Grid

SIDE = 24


def brain(level):
    """A ball of one intensity, on 3 mm and on half the pixel."""
    away = np.linalg.norm(np.moveaxis(np.indices((SIDE,) * 3), 0, -1) - (SIDE - 1) / 2, axis=-1)
    mask = away < SIDE / 2 - 1
    data = np.where(mask, np.float32(level), np.float32(-4))
    fine = data.repeat(2, 0).repeat(2, 1).repeat(2, 2)
    return CanonicalVolume(data, mask, Grid((SIDE,) * 3, np.diag([3.0, 3.0, 3.0, 1.0]), 3.0), fine=fine)


@pytest.fixture(scope="module")
def lesions():
    host, patient = brain(0.0), brain(3.0)
    lesion = np.zeros_like(host.mask)
    lesion[8:14, 8:14, 8:14] = True
    glioma = Glioma(patient, lesion, lesion.repeat(2, 0).repeat(2, 1).repeat(2, 2))
    return host, list(lesions_in(host, glioma, "t2", np.random.default_rng(0)))


def test_a_brain_gets_each_kind_of_lesion(lesions):
    assert tuple(kind for kind, _, _ in lesions[1]) == KINDS


def test_only_the_lesion_changes(lesions):
    host, made = lesions
    for _, sick, truth in made:
        coarse = truth[::2, ::2, ::2]
        assert np.array_equal(sick.data[~coarse], host.data[~coarse])
        assert np.array_equal(sick.fine[~truth], host.fine[~truth])
        assert (sick.data[coarse] != host.data[coarse]).any()


def test_a_glioma_has_the_intensities_of_its_patient_in_its_middle(lesions):
    sick = lesions[1][0][1]
    assert sick.data[11, 11, 11] == pytest.approx(3.0, abs=0.05)


def test_the_same_seed_gives_the_same_lesions(lesions):
    host, made = lesions
    glioma = Glioma(brain(3.0), made[0][2][::2, ::2, ::2], made[0][2])
    again = list(lesions_in(host, glioma, "t2", np.random.default_rng(0)))
    assert all(np.array_equal(one[2], other[2]) for one, other in zip(made[1:], again[1:], strict=True))
