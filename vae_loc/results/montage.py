"""Pictures where people would rather look than read: the montage of a scan and its map."""

from __future__ import annotations

from typing import TYPE_CHECKING

import nibabel as nib
import numpy as np

from vae_loc.errors import printable
from vae_loc.results.png import png
from vae_loc.scans.volume import Volume
from vae_loc.vocabulary import BoolArray, FloatArray

if TYPE_CHECKING:
    from PIL.Image import Image

ROWS, COLUMNS = 4, 6  # slices shown, evenly spaced through the brain
SPARSE = 8  # one of so many brain voxels tells the window
WINDOW_PERCENTILES = (1, 99)  # of the brain's intensities, black to white
MAX_OPACITY = 0.75  # of the map over the scan
TILE_WIDTH, GAP = 220, 4  # pixels of a slice, and between slices
TITLE_HEIGHT, BAR_WIDTH = 32, 90
BAR_HEIGHT = 0.7  # of the picture's
TEXT_SIZE, SIDE_SIZE = 12, 16
BRAIN_GREY, MASK_CYAN, YELLOW = (111, 111, 111), (0, 255, 255), (255, 255, 0)
# matplotlib's inferno at even steps; importing matplotlib takes as long as scoring a scan
INFERNO = (0x000004, 0x1B0C42, 0x4B0C6B, 0x781C6D, 0xA52C60, 0xCF4446, 0xED6925, 0xFB9A06, 0xF7D03C, 0xFCFFA4)
BAR_STEPS = 4  # labels of the colour bar, from 0
MAX_TITLE = 160  # characters; of a longer name the end is shown


def montage_png(
    volume: Volume,
    scores: FloatArray,
    brain: BoolArray,
    *,
    title: str,
    ceiling: float,
    mask: BoolArray | None = None,
) -> bytes:
    """Return a PNG of axial slices: scan in grey, map in colour, outline of brain and mask.

    Parameters
    ----------
    scores : float32 (I, J, K) on the grid of `volume`, >= 0
    ceiling : score shown at full colour; colour and opacity rise linearly to it
    mask : what was segmented, outlined in cyan

    Radiological view: the patient's right is on the left of the picture, front is up.
    """
    from PIL import Image, ImageDraw

    marked = np.zeros_like(brain) if mask is None else mask
    to_axial = _to_axial(volume)
    layers = tuple(
        nib.orientations.apply_orientation(array, to_axial) for array in (volume.data, scores, brain, marked)
    )
    heights_mm = _heights_mm(volume, to_axial, layers[2].shape)
    heights = np.flatnonzero(layers[2].any(axis=(1, 2)))
    shown = heights[np.linspace(0, len(heights) - 1, ROWS * COLUMNS + 2).round().astype(int)[1:-1]]
    rows, columns = (slice(int(used.min()), int(used.max()) + 1) for used in np.nonzero(layers[2].any(axis=0)))
    _, row_mm, column_mm = np.array(volume.spacing_mm)[np.argsort(to_axial[:, 0])]
    aspect = row_mm / column_mm
    tile = TILE_WIDTH, round(TILE_WIDTH * aspect * (rows.stop - rows.start) / (columns.stop - columns.start))
    window = np.percentile(volume.data[brain][::SPARSE], WINDOW_PERCENTILES)
    step_x, step_y = tile[0] + GAP, tile[1] + GAP
    picture = Image.new("RGB", (GAP + COLUMNS * step_x + BAR_WIDTH, TITLE_HEIGHT + ROWS * step_y))
    for number, k in enumerate(shown):
        at = GAP + number % COLUMNS * step_x, TITLE_HEIGHT + number // COLUMNS * step_y
        picture.paste(_slice_picture([layer[k, rows, columns] for layer in layers], window, ceiling or 1, tile), at)
        _write(picture, at[0] + 3, at[1] + 2, f"z {heights_mm[k]:+.0f} mm")
    for row in range(ROWS):
        middle = TITLE_HEIGHT + row * step_y + tile[1] // 2
        _write(picture, GAP + 1, middle, "R", SIDE_SIZE)
        _write(picture, COLUMNS * step_x - SIDE_SIZE, middle, "L", SIDE_SIZE)
    _draw_colour_bar(picture, GAP + COLUMNS * step_x + 8, ceiling or 1)
    ImageDraw.Draw(picture).text((8, 8), printable(title)[-MAX_TITLE:], fill="white", font_size=TEXT_SIZE)
    return png(np.asarray(picture))


def _slice_picture(layers: list[np.ndarray], window: np.ndarray, ceiling: float, size: tuple[int, int]) -> Image:
    """Return scan, map and the outlines of brain and mask of one slice, (rows, columns) each."""
    from PIL import Image

    scan, heat, brain, marked = layers
    grey = 255 * np.clip((scan - window[0]) / ((window[1] - window[0]) or 1), 0, 1)[..., None]
    share = np.clip(heat / ceiling, 0, 1)
    opacity = MAX_OPACITY * share[..., None]
    blended = ((1 - opacity) * grey + opacity * _coloured(share)).astype(np.uint8)
    pixels = np.array(Image.fromarray(blended).resize(size, Image.Resampling.BICUBIC))
    for outline, colour in ((brain, BRAIN_GREY), (marked, MASK_CYAN)):
        area = Image.fromarray((255 * outline).astype(np.uint8)).resize(size, Image.Resampling.BILINEAR)
        pixels[_edge(np.array(area) > 127)] = colour
    return Image.fromarray(pixels)


def _coloured(share: np.ndarray) -> np.ndarray:
    """Return the colours, 0 to 255, of shares 0 to 1 of the ceiling: (..., 3)."""
    table = np.array([[colour >> 16, colour >> 8 & 255, colour & 255] for colour in INFERNO])
    steps = np.linspace(0, 1, len(INFERNO))
    return np.stack([np.interp(share, steps, channel) for channel in table.T], axis=-1)


def _edge(area: BoolArray) -> BoolArray:
    """Return the pixels of an area that have a neighbour outside it, in the picture."""
    padded = np.pad(area, 1, mode="edge")
    inner = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    result: BoolArray = area & ~inner
    return result


def _write(picture: Image, x: int, y: int, text: str, size: int = TEXT_SIZE) -> None:
    from PIL import ImageDraw

    ImageDraw.Draw(picture).text((x, y), text, fill=YELLOW, font_size=size)


def _draw_colour_bar(picture: Image, x: int, ceiling: float) -> None:
    from PIL import Image, ImageDraw

    height = round(BAR_HEIGHT * picture.height)
    top = (picture.height - height) // 2
    colours = _coloured(np.linspace(1, 0, height))[:, None].repeat(18, axis=1)
    picture.paste(Image.fromarray(colours.astype(np.uint8)), (x, top))
    for step in range(BAR_STEPS + 1):
        y = top + height - round(height * step / BAR_STEPS) - TEXT_SIZE // 2
        label = f"{ceiling * step / BAR_STEPS:.3g}"
        ImageDraw.Draw(picture).text((x + 24, y), label, fill="white", font_size=TEXT_SIZE)


def _to_axial(volume: Volume) -> np.ndarray:
    """Transform of array axes to (S, P, L): slices upwards, rows to the back, columns to the left."""
    start = nib.orientations.io_orientation(volume.affine)
    end = nib.orientations.axcodes2ornt("SPL")
    return np.asarray(nib.orientations.ornt_transform(start, end))


def _heights_mm(volume: Volume, to_axial: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Height in RAS+ mm of the centre of each slice of the pictures, (S,)."""
    affine = volume.affine @ nib.orientations.inv_ornt_aff(to_axial, volume.data.shape)
    centre = affine[2, 1:3] @ ((np.array(shape[1:]) - 1) / 2) + affine[2, 3]
    return np.asarray(affine[2, 0] * np.arange(shape[0]) + centre)
