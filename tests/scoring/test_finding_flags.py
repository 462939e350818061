"""Flags: the mirrored place is as strong, the core looks like the scan's own fluid, most of it lies at the edge."""

import numpy as np
import pytest

from vae_loc.preprocessing.canonical import CanonicalVolume
from vae_loc.preprocessing.pose import cube_affine, halved_grid
from vae_loc.preprocessing.resampling import Grid
from vae_loc.scoring.anatomy import regions
from vae_loc.scoring.finding_flags import Flags, scene_of
from vae_loc.scoring.finding_model import Finding

SIZE = 32  # pixels of 3 mm, 64 of half of it
VENTRICLE = next(index for index, region in regions().items() if region.lobe == "lateral ventricle")
LEFT, RIGHT = np.s_[14:20, 30:36, 30:36], np.s_[44:50, 30:36, 30:36]


def scene(signed, *, data=None, contrast="t1", ventricle=True):
    """A cube of brain with a rim outside it; its ventricle, 4 x 4 x 4 pixels, has the intensity -2."""
    mask = np.zeros((SIZE,) * 3, bool)
    mask[2:-2, 2:-2, 2:-2] = True
    labels = np.zeros(mask.shape, np.uint8)
    values = np.zeros(mask.shape, np.float32) if data is None else data.copy()
    if ventricle:
        labels[14:18, 22:26, 14:18] = VENTRICLE
        values[labels > 0] = -2.0
    grid = Grid(mask.shape, cube_affine(SIZE, 3.0), 3.0)
    assert halved_grid(grid).pixel_mm == 1.5
    return scene_of(signed, CanonicalVolume(values, mask, grid), labels, contrast)


def signed_of(**parts):
    """A map at half the pixel, 0 but in the parts."""
    signed = np.zeros((2 * SIZE,) * 3, np.float32)
    for place, value in parts.items():
        signed[{"left": LEFT, "right": RIGHT}[place]] = value
    return signed


def flags(signed, at=LEFT, **given):
    inside = np.zeros(signed.shape, bool)
    inside[at] = True
    return scene(signed, **given).flags(np.nonzero(inside), bright=bool(signed[at].max() > 0))


@pytest.mark.parametrize(("other", "alike"), [(10.0, True), (9.0, True), (7.0, False), (0.0, False), (-10.0, False)])
def test_a_pair_is_symmetric_and_one_side_is_not(other, alike):
    signed = signed_of(left=10.0, right=other)
    assert flags(signed).symmetric is alike
    assert flags(-signed).symmetric is alike
    assert flags(signed[::-1], at=RIGHT).symmetric is alike


@pytest.mark.parametrize(("off", "alike"), [(2, True), (9, False)])
def test_the_mirrored_place_may_be_off_by_3_mm(off, alike):
    signed = signed_of(left=10.0) + np.roll(signed_of(right=10.0), off, axis=1)
    assert flags(signed).symmetric is alike


@pytest.mark.parametrize(("first", "alike"), [(26, True), (29, True), (31, False)])
def test_of_a_finding_across_the_midline_the_larger_half_is_compared_with_the_other(first, alike):
    at = np.s_[first:38, 30:36, 30:36]
    signed = signed_of()
    signed[at] = 10.0
    assert flags(signed, at=at).symmetric is alike


@pytest.mark.parametrize(("intensity", "looks"), [(-2.0, True), (-1.6, True), (-1.0, False), (2.0, False)])
def test_a_core_as_dark_as_the_ventricle_is_fluid(intensity, looks):
    """Its blurred border, weaker than half the peak, does not count."""
    signed, data = signed_of(left=4.0), np.zeros((SIZE,) * 3, np.float32)
    signed[16:18, 32:34, 32:34], data[8, 16, 16] = 10.0, intensity
    assert flags(-signed, data=data).fluid is looks


def test_on_t2_fluid_is_bright():
    data = np.full((SIZE,) * 3, 3.0, np.float32)
    signed = signed_of(left=10.0)
    assert flags(signed, data=data, contrast="t2").fluid is None  # the ventricle is dark: no sample of fluid
    assert flags(signed, data=-data, contrast="t1", ventricle=False).fluid is None
    assert flags(signed, contrast="pd").fluid is None
    labels = np.where(data > 0, VENTRICLE, 0).astype(np.uint8)
    mask, grid = data > 0, Grid(data.shape, cube_affine(SIZE, 3.0), 3.0)
    at = np.nonzero(signed)
    assert scene_of(signed, CanonicalVolume(data, mask, grid), labels, "t2").flags(at, bright=True).fluid is True


@pytest.mark.parametrize(("first", "at_edge"), [(4, True), (6, True), (7, False), (20, False)])
def test_a_finding_at_the_edge_is_mostly_within_7_and_a_half_mm_of_it(first, at_edge):
    """The brain begins at pixel 4; the finding is 6 pixels of 1.5 mm deep."""
    at = np.s_[first : first + 6, 30:36, 30:36]
    signed = signed_of()
    signed[at] = 10.0
    assert flags(signed, at=at).edge is at_edge


def test_true_flags_are_in_the_words():
    facts = dict.fromkeys(Finding.model_fields) | {
        "number": 1,
        "sign": "darker",
        "strength": 9.0,
        "volume_ml": 2.0,
        "peak_voxel": (0, 0, 0),
        "peak_slice": 0,
        "peak_ras_mm": (0.0, 0.0, 0.0),
        "centroid_ras_mm": (0.0, 0.0, 0.0),
    }
    finding = Finding.model_validate(facts | {"contrast": "t1"})
    assert finding.flag_words == ()
    flagged = finding.model_copy(update={"symmetric": True, "fluid": True, "edge": True})
    assert flagged.words == finding.words + ", on both sides alike, as dark as fluid, at the edge of the brain mask"
    assert finding.model_copy(update={"sign": "brighter", "fluid": True}).flag_words == ("as bright as fluid",)
    assert Flags() == Flags(None, None, None)
