"""The montage: the finding first, each slice once, nothing below the floor, warm for bright and blue for dark."""

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from support.phantoms import AFFINE, SHAPE, centred, phantom, save

from vae_loc.results.montage import Shown, Slices, montage_png, png
from vae_loc.scans.volume import read_volume
from vae_loc.scoring.finding_model import Finding

SHOWN = Shown(2.0, 6.0)


@pytest.fixture
def volume(tmp_path):
    return read_volume(save(tmp_path / "a_t1.nii.gz", phantom(AFFINE, SHAPE)[0], AFFINE))


def picture(volume, signed, findings=()):
    slices = Slices.of(volume, signed.astype(np.float32), volume.data > 0, None, SHOWN)
    raw = montage_png(slices, findings, title="t")
    return np.asarray(Image.open(io.BytesIO(raw)).convert("RGB")).astype(int)


def finding_at(voxel):
    return Finding.model_construct(number=1, sign="brighter", volume_ml=9.0, peak_voxel=voxel)


def coloured(pixels):
    """Share of the slices' pixels that are no grey: warmer, and bluer."""
    red, _, blue = np.moveaxis(pixels[40:, : 6 * 224], -1, 0)
    return np.mean(red > blue + 40), np.mean(blue > red + 40)


def test_nothing_at_or_below_the_floor_is_coloured(volume):
    without = coloured(picture(volume, np.zeros(SHAPE)))
    assert coloured(picture(volume, np.full(SHAPE, 2.0))) == without


def test_brighter_is_warm_and_darker_is_blue(volume):
    signed = np.zeros(SHAPE)
    signed[14:26, 18:28, 12:24] = 4
    without, bright, dark = (coloured(picture(volume, of)) for of in (0 * signed, signed, -signed))
    assert bright[0] > without[0] + 0.005
    assert bright[1] == pytest.approx(without[1], abs=0.001)
    assert dark[1] > without[1] + 0.005
    assert dark[0] == pytest.approx(without[0], abs=0.001)


def test_the_first_row_shows_the_finding_without_and_with_the_map(volume):
    signed = np.zeros(SHAPE)
    signed[14:26, 18:28, 16:20] = 5
    pixels = picture(volume, signed, [finding_at((20, 22, 18))])
    height = (len(pixels) - 32) // 4
    plain, overlay = (pixels[56 : 32 + height - 4, 4 + at : 4 + at + 220] for at in (0, 224))
    assert coloured_share(plain) < 0.01 < 0.05 < coloured_share(overlay)
    nothing = pixels[56 : 32 + height - 30, 4 + 3 * 224 : 4 + 5 * 224]
    assert nothing.max() == 0


def coloured_share(tile):
    return np.mean(np.ptp(tile, axis=-1) > 60)


@pytest.mark.parametrize("flip", [(1, 1, 1), (1, 1, -1), (-1, 1, 1)])
def test_a_voxel_is_found_in_its_slice_whatever_the_axes(tmp_path, flip):
    affine = centred(np.diag(np.array(flip) * 4.0), SHAPE)
    volume = read_volume(save(tmp_path / "a_t1.nii.gz", phantom(affine, SHAPE)[0], affine))
    slices = Slices.of(volume, np.zeros(SHAPE, np.float32), volume.data > 0, volume.data > 0, SHOWN)
    for voxel in ((20, 22, 5), (20, 22, 30)):
        height_mm = (affine @ [*voxel, 1])[2]
        height, caption = slices.pointed_at(finding_at(voxel))
        assert slices.heights_mm[height] == pytest.approx(height_mm)
        assert caption == "1: 9 ml, brighter"


def test_each_slice_is_shown_once_and_those_with_little_brain_are_not(volume):
    slices = Slices.of(volume, np.zeros(SHAPE, np.float32), volume.data > 0, volume.data > 0, SHOWN)
    shown = slices.overview(24)
    area = slices.layers[2].sum(axis=(1, 2))
    assert len(set(shown)) == len(shown) <= 24
    assert area[shown].min() >= 0.3 * area.max()
    assert slices.overview(1000) == sorted(set(slices.overview(1000)))


def read_back(content):
    """Return the pixels that Pillow reads, after it checked every chunk's checksum."""
    Image.open(io.BytesIO(content)).verify()
    with Image.open(io.BytesIO(content)) as picture:
        assert (picture.format, picture.mode) == ("PNG", "RGB")
        return np.asarray(picture)


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**32 - 1), st.booleans())
def test_pillow_reads_the_pixels_that_were_written(rows, columns, seed, turned):
    pixels = np.random.default_rng(seed).integers(0, 256, (rows, columns, 3), dtype=np.uint8)
    if turned:  # rows of another order in memory
        pixels = pixels.transpose(1, 0, 2)[::-1]
    before = pixels.copy()
    np.testing.assert_array_equal(read_back(png(pixels)), before)
    np.testing.assert_array_equal(pixels, before)


def test_a_large_smooth_picture_is_packed_well():
    """Its lines differ little from those above them: a thirtieth of its bytes."""
    rows, columns = np.mgrid[:900, :1000]
    pixels = np.stack([rows // 4, columns // 4, (rows + columns) // 8], axis=-1).astype(np.uint8)
    content = png(pixels)
    assert len(content) < pixels.nbytes / 30
    np.testing.assert_array_equal(read_back(content), pixels)
