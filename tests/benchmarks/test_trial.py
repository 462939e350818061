"""How the findings of a map meet a transplanted lesion."""

import numpy as np
import pytest

from benchmarks.trial import Diseased, Healthy, average_precision, met
from vae_loc.preprocessing.canonical import CanonicalVolume, Grid
from vae_loc.scans.cases import Case

SIDE, EXTENT = 16, 1.0


@pytest.fixture
def sick(tmp_path):
    """A brain whose lesion is a cube of 8 pixels a side, at half the pixel."""
    mask = np.ones((SIDE,) * 3, bool)
    canonical = CanonicalVolume(mask.astype(np.float32), mask, Grid(mask.shape, np.diag([3.0, 3.0, 3.0, 1.0]), 3.0))
    truth = np.zeros((2 * SIDE,) * 3, bool)
    truth[4:12, 4:12, 4:12] = True
    return Diseased(
        Healthy(Case(tmp_path / "x_t1.nii", "x", "t1"), "IXI", False, canonical, {}), "hole", canonical.data, {}, truth
    )


def signed(strengths):
    """A map with a cube of each strength: the first on the lesion, the second elsewhere."""
    values = np.zeros((2 * SIDE,) * 3, np.float32)
    for strength, place in zip(strengths, (slice(4, 12), slice(20, 28)), strict=True):
        values[place, place, place] = strength
    return values


@pytest.mark.parametrize(
    ("strengths", "found", "first", "false"),
    [
        ((8.0, 0.0), True, True, 0),  # the lesion alone
        ((8.0, 9.0), True, False, 1),  # something else is stronger
        ((9.0, 8.0), True, True, 1),
        ((4.0, 0.0), False, False, 0),  # a candidate below the level is no finding
        ((4.0, 8.0), False, False, 1),
        ((0.0, 0.0), False, False, 0),
    ],
)
def test_the_strongest_finding_is_the_lesion_only_if_it_is_a_finding(sick, strengths, found, first, false):
    of = met(signed(strengths), EXTENT, 6.0, sick)
    assert (of.found, of.first, of.false) == (found, first, false)


def test_the_dice_of_the_lesion_alone_is_one_and_its_ap_too(sick):
    of = met(signed((8.0, 0.0)), EXTENT, 6.0, sick)
    assert (of.dice, of.ap) == (1.0, 1.0)


def test_only_the_brain_counts():
    values, truth = np.array([3.0, 1.0, 2.0], np.float32), np.array([False, False, True])
    assert average_precision(values, truth, np.array([False, True, True])) == 1.0
    assert average_precision(values, truth, np.ones(3, bool)) == 0.5
