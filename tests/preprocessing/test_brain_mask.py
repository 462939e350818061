"""A skull is never scored: a brain is given, recognised, extracted, or asked for."""

import dataclasses

import nibabel as nib
import numpy as np
import pytest
from nibabel.orientations import apply_orientation, axcodes2ornt, inv_ornt_aff
from support.phantoms import centred, dice, phantom, save
from support.places import SAMPLES, SHARED

from vae_loc.errors import UnusableInput
from vae_loc.preprocessing.brain_mask import find_brain
from vae_loc.scans.volume import read_mask, read_volume

SHAPE = (48, 56, 44)  # 4 mm: 192 x 224 x 176 mm
AFFINE = centred(np.diag([4.0, 4.0, 4.0]), SHAPE)
SCALP_MM, SKULL_MM = 6.0, 12.0  # from the surface of the head to the skull, to the brain


def ellipsoid(radii_mm, affine=AFFINE, shape=SHAPE):
    grid = np.stack(np.meshgrid(*[np.arange(n) for n in shape], indexing="ij"), -1)
    world = grid @ affine[:3, :3].T + affine[:3, 3]
    return ((world / radii_mm) ** 2).sum(-1) < 1


def head(radii_mm, shape=SHAPE):
    """Scalp, dark skull, brain; air is exactly 0, as in a head whose background was zeroed."""
    affine = centred(np.diag([2.0, 2.0, 2.0]), shape)
    radii = np.array(radii_mm)
    data = np.where(ellipsoid(radii, affine, shape), 120.0, 0)
    data[ellipsoid(radii - SCALP_MM, affine, shape)] = 20
    data[ellipsoid(radii - SKULL_MM, affine, shape)] = 100
    return data.astype(np.float32), affine


def volume_of(tmp_path, data, affine=AFFINE):
    return read_volume(save(tmp_path / "scan.nii.gz", data, affine))


@pytest.fixture
def stripped():
    return phantom(AFFINE, SHAPE)


def test_a_stripped_scan_is_its_own_mask(tmp_path, stripped):
    data, inside = stripped
    mask, source = find_brain(volume_of(tmp_path, data), "auto")
    assert source == "skull-stripped"
    assert mask.dtype == bool
    assert dice(mask, inside) > 0.99


@pytest.mark.parametrize("background", [-3.5, 1000.0])
def test_the_background_need_not_be_zero(tmp_path, stripped, background):
    data, inside = stripped
    mask, source = find_brain(volume_of(tmp_path, np.where(inside, data, background)), "auto")
    assert source == "skull-stripped"
    assert dice(mask, inside) > 0.99


def test_z_scored_brains_are_recognised(tmp_path, stripped):
    data, inside = stripped
    scored = np.where(inside, (data - data[inside].mean()) / data[inside].std(), 0)
    assert find_brain(volume_of(tmp_path, scored), "auto")[1] == "skull-stripped"


@pytest.mark.parametrize("factor", [1e6, 1e-6])
def test_the_intensity_scale_does_not_matter(tmp_path, stripped, factor):
    data, _ = stripped
    mask, source = find_brain(volume_of(tmp_path, data), "auto")
    scaled, scaled_source = find_brain(volume_of(tmp_path, data * factor), "auto")
    assert source == scaled_source
    assert np.array_equal(mask, scaled)


def test_holes_and_rough_edges_are_closed_and_crumbs_are_dropped(tmp_path, stripped):
    data, inside = stripped
    data = np.where(ellipsoid((20.0, 20.0, 20.0)), 0, data)  # zeroed ventricles
    data[np.random.default_rng(0).random(SHAPE) < 0.05] = 0
    data[2:4, 2:4, 2:4] = 50
    mask, source = find_brain(volume_of(tmp_path, data), "auto")
    assert source == "skull-stripped"
    assert not mask[2:4, 2:4, 2:4].any()
    assert dice(mask, inside) > 0.98


def test_a_tightly_cropped_stripped_scan_is_recognised(tmp_path, stripped):
    data, inside = stripped
    box = tuple(slice(index.min(), index.max() + 1) for index in np.nonzero(inside))
    assert find_brain(volume_of(tmp_path, data[box]), "auto")[1] == "skull-stripped"


@pytest.mark.parametrize("codes", ["LPS", "PSR", "IAL"])
def test_a_turned_stripped_scan_has_the_turned_mask(tmp_path, stripped, codes):
    data, _ = stripped
    turn = nib.orientations.ornt_transform(axcodes2ornt("RAS"), axcodes2ornt(codes))
    turned = volume_of(tmp_path, apply_orientation(data, turn), AFFINE @ inv_ornt_aff(turn, SHAPE))
    expected = apply_orientation(find_brain(volume_of(tmp_path, data), "auto")[0], turn)
    assert np.array_equal(find_brain(turned, "auto")[0], expected)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("lost", [np.s_[20:26], np.s_[14:34:3]], ids=["block", "comb"])
def test_lost_slices_are_named_and_left_out_and_both_pieces_are_kept(tmp_path, stripped, axis, lost):
    data, inside = stripped
    cut = data.copy()
    np.moveaxis(cut, axis, 0)[lost] = 0
    volume = volume_of(tmp_path, cut)
    (warning,) = volume.warnings
    count = len(range(*lost.indices(cut.shape[axis])))
    assert f"{count} slices inside the head hold only zeros ({'IJK'[axis]} = {lost.start}, " in warning
    mask, source = find_brain(volume, "auto")
    assert source == "skull-stripped"
    assert not np.moveaxis(mask, axis, 0)[lost].any()
    assert dice(mask, inside & (cut != 0)) > 0.98


def test_background_is_no_lost_slice(tmp_path, stripped):
    data, _ = stripped
    data[0, 0, 0] = 1  # a speck at the edge of the volume
    assert volume_of(tmp_path, data).warnings == ()


def test_none_is_every_voxel_that_is_not_missing(tmp_path, stripped):
    data, _ = stripped
    data[20, 20, 20] = np.nan
    mask, source = find_brain(volume_of(tmp_path, data), "none")
    assert source == "none"
    assert not mask[20, 20, 20]
    assert np.count_nonzero(~mask) == 1


def test_a_mask_file_is_taken_as_it_is(tmp_path, stripped):
    data, _ = stripped
    given = ellipsoid((30.0, 40.0, 30.0))
    path = save(tmp_path / "mask.nii.gz", given.astype(np.uint8), AFFINE)
    mask, source = find_brain(volume_of(tmp_path, data), path)
    assert source == "file"
    assert np.array_equal(mask, given)


@pytest.mark.full
def test_a_head_with_zeroed_air_of_the_size_of_a_brain_is_not_taken_for_one(tmp_path):
    """A child's head may have the volume of an adult's brain; the dark skull under the scalp tells."""
    radii_mm, shape = np.array((72, 88, 68)), (80, 96, 76)
    data, affine = head(radii_mm, shape)
    volume = volume_of(tmp_path, data, affine)
    assert np.count_nonzero(data) * volume.voxel_mm3 / 1000 < 2500
    mask, source = find_brain(volume, "auto")
    assert source == "deepbet"
    assert dice(mask, ellipsoid(radii_mm - SKULL_MM, affine, shape)) > 0.95


@pytest.mark.full
@pytest.mark.parametrize("content", ["noise", "small"])
def test_what_holds_no_brain_is_refused_by_name_with_a_remedy(tmp_path, content):
    noise = np.random.default_rng(0).normal(100, 20, SHAPE)
    data, affine = (noise, AFFINE) if content == "noise" else (phantom(AFFINE / 2, SHAPE)[0], AFFINE / 3)
    with pytest.raises(UnusableInput, match=r"^\S*scan\.nii\.gz: expected .* found .*--brain-mask FILE"):
        find_brain(volume_of(tmp_path, data, affine), "auto")


@pytest.mark.parametrize(("brightest", "hint"), [(150, True), (198, False)])
def test_air_nearly_as_bright_as_the_brain_is_taken_for_an_mp2rage(tmp_path, monkeypatch, stripped, brightest, hint):
    """Air of an MP2RAGE is noise over the whole range of the brain's intensities."""
    _, inside = stripped
    air = np.random.default_rng(0).uniform(0, brightest, SHAPE)
    monkeypatch.setattr("vae_loc.preprocessing.brain_mask.extract_brain", lambda _: inside)
    with pytest.raises(UnusableInput, match="brighter than the rest") as refused:
        find_brain(volume_of(tmp_path, np.where(inside, 100, air)), "auto")
    assert ("MP2RAGE" in str(refused.value)) == hint


@pytest.mark.full
def test_a_whole_head_is_extracted_silently_and_alike_however_it_is_turned(tmp_path, capfd):
    scan = SAMPLES / "IXI012_t1.nii.gz"
    volume = read_volume(scan)
    mask, source = find_brain(volume, "auto")
    assert source == "deepbet"
    assert 1400 < mask.sum() * volume.voxel_mm3 / 1000 < 1800
    turn = nib.orientations.ornt_transform(nib.io_orientation(volume.affine), axcodes2ornt("PIL"))
    turned = dataclasses.replace(
        volume,
        data=apply_orientation(volume.data, turn),
        affine=volume.affine @ inv_ornt_aff(turn, volume.data.shape),
    )
    assert np.array_equal(find_brain(turned, "auto")[0], apply_orientation(mask, turn))
    assert capfd.readouterr() == ("", "")


@pytest.mark.full
@pytest.mark.shared
@pytest.mark.skipif(not SHARED.exists(), reason="needs ../shared")
def test_an_extracted_brain_agrees_with_the_reference_mask():
    volume = read_volume(SHARED / "ixi/IXI213_t1.nii.gz")
    reference = read_mask(SHARED / "ixi/IXI213_brainmask.nii.gz", volume)
    assert dice(find_brain(volume, "auto")[0], reference) > 0.96


@pytest.mark.shared
@pytest.mark.skipif(not SHARED.exists(), reason="needs ../shared")
@pytest.mark.parametrize(
    "scan", ["gliomas/glioma_20_flair", "gliomas/glioma_2_t1", "ms/patient07_t1", "ms/patient19_t2"]
)
def test_real_stripped_scans_of_any_contrast_are_recognised(scan):
    assert find_brain(read_volume(SHARED / f"{scan}.nii.gz"), "auto")[1] == "skull-stripped"
