"""The montage: the strongest finding large, findings alone in colour and numbered, warm for bright, blue for dark."""

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageDraw
from scipy.ndimage import binary_dilation
from support.phantoms import AFFINE, SHAPE, centred, phantom, save

from vae_loc.results.montage import GAP, MASK_CYAN, TEXT_SIZE, TILE_WIDTH, TITLE_HEIGHT, Shown, Slices, montage_png
from vae_loc.scans.volume import read_volume
from vae_loc.scoring.finding_model import Finding

SHOWN = Shown(2.0, 6.0)
STEP = TILE_WIDTH + GAP


@pytest.fixture
def volume(tmp_path):
    return read_volume(save(tmp_path / "a_t1.nii.gz", phantom(AFFINE, SHAPE)[0], AFFINE))


def slices_of(volume, signed, numbers=None):
    return Slices.of(volume, signed.astype(np.float32), volume.data > 0, numbers, SHOWN)


def picture(scans, findings=(), result=""):
    raw = montage_png(scans if isinstance(scans, list) else [scans], findings, title="t", result=result)
    return np.asarray(Image.open(io.BytesIO(raw)).convert("RGB")).astype(int)


def finding_at(voxel, number=1, volume_ml=9.0):
    return Finding.model_construct(number=number, sign="brighter", volume_ml=volume_ml, peak_voxel=voxel)


def panel(pixels, number, *, height):
    """Return a slice of a picture, without its caption: the three large ones first."""
    size, row, column = (2, 0, 2 * number) if number < 3 else (1, 2 + (number - 3) // 6, (number - 3) % 6)
    x, y = GAP + STEP * column, TITLE_HEIGHT + (height + GAP) * row
    return pixels[y + 20 : y + size * (height + GAP) - GAP, x : x + size * STEP - GAP]


def coloured(pixels):
    """Share of the slices' pixels that are no grey: warmer, and bluer."""
    red, _, blue = np.moveaxis(pixels[TITLE_HEIGHT:, : 6 * STEP], -1, 0)
    return np.mean(red > blue + 40), np.mean(blue > red + 40)


def numbered(*boxes):
    """Return the numbers of findings, and a map of 5 in them."""
    numbers = np.zeros(SHAPE, np.uint8)
    for number, box in enumerate(boxes, start=1):
        numbers[box] = number
    return numbers, 5.0 * (numbers > 0)


LEFT, RIGHT = np.s_[10:16, 18:28, 16:20], np.s_[26:32, 18:28, 16:20]


def test_nothing_at_or_below_the_floor_is_coloured(volume):
    without = coloured(picture(slices_of(volume, np.zeros(SHAPE))))
    assert coloured(picture(slices_of(volume, np.full(SHAPE, 2.0)))) == without


def test_brighter_is_warm_and_darker_is_blue(volume):
    signed = np.zeros(SHAPE)
    signed[14:26, 18:28, 12:24] = 4
    without, bright, dark = (coloured(picture(slices_of(volume, of))) for of in (0 * signed, signed, -signed))
    assert bright[0] > without[0] + 0.005
    assert bright[1] == pytest.approx(without[1], abs=0.001)
    assert dark[1] > without[1] + 0.005
    assert dark[0] == pytest.approx(without[0], abs=0.001)


def test_a_scan_without_findings_has_no_colour_wherever_the_map_is_high(volume):
    nothing = np.zeros(SHAPE, np.uint8)
    high = picture(slices_of(volume, np.full(SHAPE, 9.0), nothing))
    assert np.array_equal(high, picture(slices_of(volume, np.zeros(SHAPE), nothing)))


def test_findings_alone_are_coloured_but_in_the_panel_of_the_map(volume):
    numbers, signed = numbered(RIGHT)
    everywhere = slices_of(volume, np.where(signed > 0, signed, 9), numbers)
    alone = slices_of(volume, signed, numbers)
    before, after = (picture(of, [finding_at((28, 22, 18))]) for of in (alone, everywhere))
    same = (before == after).all(axis=-1)
    height = alone.tile[1]
    assert all(panel(same, number, height=height).mean() > 0.95 for number in (0, 2, *range(3, 21)))
    assert panel(same, 1, height=height).mean() < 0.6


def test_the_strongest_finding_is_large_as_scan_map_and_both(volume):
    slices = slices_of(volume, *reversed(numbered(RIGHT)))
    pixels = picture(slices, [finding_at((28, 22, 18))])
    scan, heat, both = (panel(pixels, number, height=slices.tile[1]) for number in range(3))
    grey = [np.mean(np.ptp(of, axis=-1) < 30) for of in (scan, heat, both)]
    assert grey[0] > 0.999  # all but the letter R
    assert max(grey[1:]) < 0.97
    assert cyan(both).any()
    assert not cyan(heat).any()


def cyan(pixels):
    return (pixels == MASK_CYAN).all(axis=-1)


def glyphs(tile, number):
    """Return how often a number is written in a tile, as the picture writes it."""
    own = Image.new("RGB", (30, 20))
    ImageDraw.Draw(own).text((4, 2), str(number), MASK_CYAN, font_size=TEXT_SIZE, stroke_width=2, stroke_fill="black")
    drawn = np.asarray(own).astype(int)
    counts = binary_dilation(drawn.any(axis=-1))  # a pixel of the black stroke around it too
    rows, columns = np.nonzero(counts)
    box = np.s_[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    windows = np.lib.stride_tricks.sliding_window_view(tile, (*counts[box].shape, 3))[:, :, 0]
    return int((np.abs(windows - drawn[box])[:, :, counts[box]].max(axis=(2, 3)) < 8).sum())


def test_the_number_beside_an_outline_is_that_of_the_list(volume):
    numbers, signed = numbered(LEFT, RIGHT)
    slices = slices_of(volume, signed, numbers)
    for height in (17, 19):
        tile = np.asarray(slices.picture(height, "scan, map and outline")).astype(int)
        right_is_left = tile[:, : TILE_WIDTH // 2 + 20], tile[:, TILE_WIDTH // 2 + 20 :]
        first = slices.layers[3][height][:, : slices.layers[3].shape[2] // 2].max()
        assert [[glyphs(half, number) for number in (1, 2, 3)] for half in right_is_left] == [
            [int(first == number) for number in (1, 2, 3)],
            [int(3 - first == number) for number in (1, 2, 3)],
        ]


def test_the_outline_of_the_finding_that_a_slice_is_shown_for_is_heavier(volume):
    numbers, signed = numbered(LEFT, RIGHT)
    slices = slices_of(volume, signed, numbers)
    none, first, both = (
        cyan(np.asarray(slices.picture(18, "scan, map and outline", own=own))).sum() for own in ((), (1,), (1, 2))
    )
    assert none * 1.2 < first < both
    assert both - first == pytest.approx(first - none, rel=0.2)


def test_findings_of_one_slice_share_a_panel_and_those_of_others_follow_small(volume):
    signed = np.zeros(SHAPE)
    slices = slices_of(volume, signed, signed.astype(np.uint8))
    same = [finding_at((28, 22, 18)), finding_at((12, 22, 18), 2)]
    ((height, of),) = slices.of_findings(same)
    assert [finding.number for finding in of] == [1, 2]
    assert slices.caption(height, of).startswith("1: 9 ml, 2: 9 ml, z ")
    more = slices.of_findings([*same, finding_at((28, 22, 10), 3), finding_at((20, 22, 18), 4)])
    assert [[finding.number for finding in of] for _, of in more] == [[1, 2, 4], [3]]


@pytest.mark.parametrize("count", range(6))
@pytest.mark.parametrize("scans", [1, 2, 3])
def test_no_panel_is_empty(volume, count, scans):
    signed = np.zeros(SHAPE)
    of = slices_of(volume, signed, signed.astype(np.uint8))
    each = [replace(of, name=f"T{number}") for number in range(scans)]
    pixels = picture(each, [finding_at((20, 22, 8 + 3 * number), number) for number in range(1, count + 1)])
    for number in range(21):
        assert panel(pixels, number, height=each[0].tile[1])[20:-20].max() > 20


def test_the_result_is_said_on_the_picture(volume):
    slices = slices_of(volume, np.zeros(SHAPE), np.zeros(SHAPE, np.uint8))
    silent, said = (picture(slices, result=of) for of in ("", "No finding that fewer than 1 in 10 healthy people show"))
    assert (said != silent).any(axis=(1, 2)).nonzero()[0].max() < TITLE_HEIGHT
    assert (said == 255).all(axis=-1).sum() > (silent == 255).all(axis=-1).sum() + 200


def test_thick_slices_fill_the_picture_with_those_of_less_brain(tmp_path):
    data = phantom(AFFINE, SHAPE)[0][:, :, ::2]
    volume = read_volume(save(tmp_path / "a_t1.nii.gz", data, AFFINE @ np.diag([1, 1, 2, 1])))
    slices = slices_of(volume, np.zeros(data.shape), np.zeros(data.shape, np.uint8))
    enough, filled = slices.overview(18), slices.overview(18, fill=True)
    assert len(enough) < len(filled) <= 18
    assert set(enough) <= set(filled)
    assert slices.layers[2][filled].any(axis=(1, 2)).all()


@pytest.mark.parametrize("flip", [(1, 1, 1), (1, 1, -1), (-1, 1, 1)])
def test_a_voxel_is_found_in_its_slice_whatever_the_axes(tmp_path, flip):
    affine = centred(np.diag(np.array(flip) * 4.0), SHAPE)
    volume = read_volume(save(tmp_path / "a_t1.nii.gz", phantom(affine, SHAPE)[0], affine))
    slices = slices_of(volume, np.zeros(SHAPE), np.zeros(SHAPE, np.uint8))
    for voxel in ((20, 22, 5), (20, 22, 30)):
        height_mm = (affine @ [*voxel, 1])[2]
        ((height, of),) = slices.of_findings([finding_at(voxel)])
        assert slices.heights_mm[height] == pytest.approx(height_mm)
        assert slices.caption(height, of) == f"1: 9 ml, z {height_mm:+.0f} mm"


def test_each_slice_is_shown_once_and_those_with_little_brain_are_not(volume):
    slices = slices_of(volume, np.zeros(SHAPE))
    shown = slices.overview(24)
    area = slices.layers[2].sum(axis=(1, 2))
    assert len(set(shown)) == len(shown) <= 24
    assert area[shown].min() >= 0.3 * area.max()
    assert slices.overview(1000) == sorted(set(slices.overview(1000)))
