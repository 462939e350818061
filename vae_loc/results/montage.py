"""Pictures where people would rather look than read: the montage of a scan, its map and its findings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import nibabel as nib
import numpy as np

from vae_loc.errors import printable
from vae_loc.preprocessing.regions import with_neighbours
from vae_loc.scans.volume import Volume
from vae_loc.scoring.finding_model import AnyFinding, about_ml
from vae_loc.scoring.segmentation import Numbers
from vae_loc.system.png import png
from vae_loc.vocabulary import BoolArray, FloatArray

if TYPE_CHECKING:
    from PIL.Image import Image

View = Literal["scan", "map", "scan, map and outline"]
VIEWS: tuple[View, ...] = ("scan", "map", "scan, map and outline")  # of the strongest finding, large
COLUMNS, ROWS = 6, 3  # of the small slices below
LARGE = COLUMNS // len(VIEWS)  # small slices that a large one is as wide and as high as
SHOWN_SLICES = 4  # with the strongest findings: the first large, the others small, without and with the map
SAME_SLICE_MM = 3.0  # findings whose peaks are as near share a slice
SIZED = 3  # findings of one slice whose size its caption states
MIN_AREA = 0.3  # of the largest slice's brain: smaller ones, neck and vertex, are left out
SPARSE = 8  # one of so many brain voxels tells the window
WINDOW_PERCENTILES = (1, 99)  # of the brain's intensities, black to white
OPACITY = 0.3, 0.6  # of the map over the scan, where it begins to be shown and at full colour
TILE_WIDTH, GAP = 200, 4  # pixels of a small slice, and between slices
TITLE_HEIGHT, BAR_WIDTH = 56, 90
LARGE_ROW = (0.0, 0.045, 0.93, 0.42)  # of the picture, about: left, top, right, bottom, as shares of its sides
BAR_HEIGHT = 0.35  # of the picture's, for each of the two bars
TEXT_SIZE, LARGE_SIZE = 12, 16
OWN_WIDTH = 2  # pixels, in a small slice, of the outline of the findings that it is shown for; of others it is 1
BRAIN_GREY, MASK_CYAN, YELLOW, WHITE = (111, 111, 111), (0, 255, 255), (255, 255, 0), (255, 255, 255)
# warm for brighter than expected, blue for darker: told apart by colour-blind readers too
BRIGHT, DARK = (0xA3230D, 0xE8590C, 0xFF9F1C, 0xFFD43B), (0x1B2A8C, 0x2563EB, 0x38A0F0, 0x7DD3FC)
NOTHING = (24, 24, 24)  # of a map alone, up to the floor
BAR_STEPS = 2  # labels of a colour bar above the first
MAX_TITLE = 160  # characters; of a longer name the end is shown


@dataclass(frozen=True)
class Shown:
    """The values of a map that are coloured: from `floor`, at full colour from `ceiling` on.

    colours : by name, of what is > 0, then of what is < 0 where the map has a sign
    """

    floor: float
    ceiling: float
    colours: Mapping[str, tuple[int, ...]] = field(default_factory=lambda: {"brighter": BRIGHT, "darker": DARK})


def montage_png(scans: Sequence[Slices], findings: Sequence[AnyFinding], *, title: str, result: str) -> bytes:
    """Return a PNG of axial slices: scan in grey, findings in colour, outlined and numbered as in their list.

    The slice of the strongest finding is large: the scan, its map, and both, or each of several scans. Small ones are
    those of the next findings, then slices evenly spaced through the brain. Without findings these are all there is.

    Parameters
    ----------
    scans : one, or several of one person on one grid, with the same map and the same findings
    result : how many findings there are, in words, which the picture shows too

    Radiological view: the patient's right is on the left of the picture, front is up.
    """
    from PIL import Image

    panels = _panels(scans, findings)
    step_x, step_y = (side + GAP for side in scans[0].tile)
    rows = LARGE + -(-(len(panels) - len(VIEWS)) // COLUMNS)
    picture = Image.new("RGB", (GAP + COLUMNS * step_x + BAR_WIDTH, TITLE_HEIGHT + rows * step_y))
    captions = [(8, 6, printable(title)[-MAX_TITLE:], TEXT_SIZE), (8, 10 + LARGE_SIZE, result, LARGE_SIZE)]
    for number, panel in enumerate(panels):
        size, row, column = LARGE, 0, LARGE * number
        if number >= len(VIEWS):
            size, (row, column) = 1, divmod(number - len(VIEWS) + LARGE * COLUMNS, COLUMNS)
        x, y = GAP + column * step_x, TITLE_HEIGHT + row * step_y
        picture.paste(panel.slices.picture(panel.height, panel.view, own=panel.own, size=size), (x, y))
        captions.append((x + 3, y + 2, panel.caption, LARGE_SIZE if size > 1 else TEXT_SIZE))
        middle = y + size * step_y // 2
        captions += [(x, middle, "R", LARGE_SIZE)] * (column == 0)
        captions += [(x + size * step_x - GAP - LARGE_SIZE, middle, "L", LARGE_SIZE)] * (column + size == COLUMNS)
    _draw_colour_bars(picture, GAP + COLUMNS * step_x + 8, scans[0].shown)
    for x, y, text, points in captions:  # last, for a caption may reach into the next slice
        _write(picture, (x, y), text, YELLOW if y > TITLE_HEIGHT else WHITE, points)
    return png(np.asarray(picture))


@dataclass(frozen=True)
class _Panel:
    """A slice of the picture: how it is shown, its caption, and the findings that it is shown for."""

    slices: Slices
    view: View
    height: int
    caption: str
    own: tuple[int, ...]


def _panels(scans: Sequence[Slices], findings: Sequence[AnyFinding]) -> list[_Panel]:
    """Return the slices of the picture: as many large ones as there are views, then the small ones, none left empty."""
    first, (scan, heat, overlay) = scans[0], VIEWS
    each: list[tuple[Slices, View]] = [(of, overlay) for of in scans]
    pair: list[tuple[Slices, View]] = [(first, scan), *each] if len(scans) == 1 else each
    large = [pair[0], (first, heat), *pair[1:]] if len(pair) < len(VIEWS) else pair
    panels: list[_Panel] = []

    def show(looks: Sequence[tuple[Slices, View]], height: int, of: Sequence[AnyFinding] = ()) -> None:
        own = tuple(finding.number for finding in of)
        for at, (slices, view) in enumerate(looks):
            named = view if looks is large and view != scan and len(scans) == 1 else slices.name
            caption = ", ".join(filter(None, (named, "" if at else slices.caption(height, of))))
            panels.append(_Panel(slices, view, height, caption, own))

    places = first.of_findings(findings)[:SHOWN_SLICES]
    for number, (height, of) in enumerate(places):
        show(pair if number else large, height, of)
    if not places:
        for height in first.overview(2 + -(-len(VIEWS) // len(each)))[1:-1]:
            show(each, height)
        del panels[len(VIEWS) :]
    for height in first.overview((ROWS * COLUMNS + len(VIEWS) - len(panels)) // len(each), fill=True):
        show(each, height)
    return panels


@dataclass(frozen=True)
class Slices:
    """The axial slices of a scan, as arrays (S, rows, columns), cut to the brain.

    layers : scan, signed map, brain, numbers of the findings
    whole : whether the map is coloured wherever it is beyond the floor, not in findings alone
    heights_mm : height in RAS+ mm of the centre of each slice, (S,)
    to_axial : transform of array axes to (S, P, L): slices upwards, rows to the back, columns to the left
    tile : width and height of a small slice in the picture
    name : of the scan, where the picture shows several
    """

    layers: tuple[np.ndarray, ...]
    whole: bool
    heights_mm: np.ndarray
    to_axial: np.ndarray
    shape: tuple[int, ...]
    window: np.ndarray
    tile: tuple[int, int]
    shown: Shown
    name: str = ""

    @classmethod
    def of(cls, volume: Volume, signed: FloatArray, brain: BoolArray, numbers: Numbers | None, shown: Shown) -> Slices:
        """Turn a scan and what is drawn over it.

        Parameters
        ----------
        signed : float32 (I, J, K) on the grid of `volume`, > 0 where brighter and < 0 where darker than expected
        numbers : of the findings, outlined in cyan; None if they are not known: then all of the map is shown
        """
        marked = np.zeros(brain.shape, np.uint8) if numbers is None else numbers
        # turn the axes to (S, P, L), and cut rows and columns to those of the brain
        start = nib.orientations.io_orientation(volume.affine)
        to_axial = np.asarray(nib.orientations.ornt_transform(start, nib.orientations.axcodes2ornt("SPL")))
        turned = [nib.orientations.apply_orientation(of, to_axial) for of in (volume.data, signed, brain, marked)]
        rows, columns = (slice(int(used.min()), int(used.max()) + 1) for used in np.nonzero(turned[2].any(axis=0)))
        cut = tuple(of[:, rows, columns] for of in turned)
        # a tile has the proportions of the brain in mm
        _, row_mm, column_mm = np.array(volume.spacing_mm)[np.argsort(to_axial[:, 0])]
        height = TILE_WIDTH * row_mm / column_mm * (rows.stop - rows.start) / (columns.stop - columns.start)
        # the height of a slice is that of the middle of its whole field of view
        affine = volume.affine @ nib.orientations.inv_ornt_aff(to_axial, volume.data.shape)
        centre = affine[2, 1:3] @ ((np.array(turned[2].shape[1:]) - 1) / 2) + affine[2, 3]
        heights_mm = np.asarray(affine[2, 0] * np.arange(len(turned[2])) + centre)
        window = np.percentile(volume.data[brain][::SPARSE], WINDOW_PERCENTILES)
        return cls(cut, numbers is None, heights_mm, to_axial, brain.shape, window, (TILE_WIDTH, round(height)), shown)

    def of_findings(self, findings: Sequence[AnyFinding]) -> list[tuple[int, list[AnyFinding]]]:
        """Return the slices of the findings' peaks, strongest first, each with the findings that share it."""
        axis = int(np.flatnonzero(self.to_axial[:, 0] == 0)[0])
        upwards = self.to_axial[axis, 1] > 0
        places: list[tuple[int, list[AnyFinding]]] = []
        for finding in findings:
            peak = finding.peak_voxel[axis]
            height = peak if upwards else self.shape[axis] - 1 - peak
            near = (of for at, of in places if abs(self.heights_mm[at] - self.heights_mm[height]) <= SAME_SLICE_MM)
            if (of := next(near, None)) is None:
                places.append((height, [finding]))
            else:
                of.append(finding)
        return places

    def caption(self, height: int, findings: Sequence[AnyFinding] = ()) -> str:
        """Return the caption of a slice: the findings that it is shown for, and its height."""
        said = [f"{of.number}: {about_ml(of.volume_ml).removeprefix('about ')}" for of in findings[:SIZED]]
        more = [f"{len(findings) - SIZED} more"] if len(findings) > SIZED else []
        return ", ".join([*said, *more, f"z {self.heights_mm[height]:+.0f} mm"])

    def overview(self, count: int, *, fill: bool = False) -> list[int]:
        """Return slices with enough brain, evenly spaced, each once: at most `count`; `fill` takes smaller ones too."""
        area = self.layers[2].sum(axis=(1, 2))
        least = min(MIN_AREA * area.max(), np.sort(area)[-count:][0] if fill else np.inf)
        heights = np.flatnonzero(area >= max(least, 1))
        places = np.linspace(0, len(heights) - 1, min(count, len(heights))).round().astype(int)
        return [int(height) for height in heights[places]]

    def coloured(self, height: int) -> BoolArray:
        """Return the pixels of a slice that are coloured, bool (rows, columns): in findings, beyond the floor."""
        _, signed, _, numbers = (layer[height] for layer in self.layers)
        beyond: BoolArray = (np.abs(signed) > self.shown.floor) & (self.whole | (numbers > 0))
        return beyond

    def picture(self, height: int, view: View, *, own: Sequence[int] = (), size: int = 1) -> Image:
        """Return one slice, `size` small ones wide; the outlines of the findings `own` are heavier than others."""
        from PIL import Image

        scan, signed, brain, numbers = (layer[height] for layer in self.layers)
        floor, ceiling = self.shown.floor, self.shown.ceiling
        share = np.clip((np.abs(signed) - floor) / ((ceiling - floor) or 1), 0, 1)[..., None]
        bright, *dark = (_coloured(share[..., 0], colours) for colours in self.shown.colours.values())
        colours = np.where((signed > 0)[..., None], bright, dark[0] if dark else bright)
        pixels = 255 * np.clip((scan - self.window[0]) / ((self.window[1] - self.window[0]) or 1), 0, 1)[..., None]
        if view == VIEWS[1]:
            pixels = np.where((np.abs(signed) > floor)[..., None], colours, NOTHING) * brain[..., None]
        elif view == VIEWS[2]:  # the share of the way from floor to ceiling gives colour and opacity
            opacity = (OPACITY[0] + (OPACITY[1] - OPACITY[0]) * share) * self.coloured(height)[..., None]
            pixels = (1 - opacity) * pixels + opacity * colours
        pixels = np.broadcast_to(pixels, (*scan.shape, 3))
        sides = (size * (self.tile[0] + GAP) - GAP, size * (self.tile[1] + GAP) - GAP)
        tile = Image.fromarray(pixels.astype(np.uint8)).resize(sides, Image.Resampling.BICUBIC)
        return _outlined(tile, brain, numbers, own, size) if view == VIEWS[-1] else tile


def _outlined(tile: Image, brain: BoolArray, numbers: Numbers, own: Sequence[int], size: int) -> Image:
    """Return a slice with the outline of the brain, and those of the findings with their numbers beside them."""
    from PIL import Image

    drawn, labels = np.array(tile), []
    for number in (0, *(int(of) for of in np.unique(numbers[numbers > 0]))):
        area = Image.fromarray((255 * (numbers == number if number else brain)).astype(np.uint8))
        inside = np.array(area.resize(tile.size, Image.Resampling.BILINEAR)) > 127
        width = size * OWN_WIDTH if number in own else 1
        wider = inside
        for _ in range(width):
            wider = with_neighbours(wider)
        drawn[wider & ~inside] = MASK_CYAN if number else BRAIN_GREY
        if number and inside.any():
            rows, columns = np.nonzero(inside)
            labels.append((int(columns.max()) + width + 2, int(rows[columns.argmax()]), str(number)))
    image = Image.fromarray(drawn)
    points = LARGE_SIZE if size > 1 else TEXT_SIZE
    for x, y, text in labels:
        at = min(x, tile.width - points * len(text)), min(y - points // 2, tile.height - 2 * points)
        _write(image, at, text, MASK_CYAN, points)
    return image


def _write(picture: Image, at: tuple[int, int], text: str, colour: tuple[int, int, int], points: int) -> None:
    from PIL import ImageDraw

    ImageDraw.Draw(picture).text(at, text, colour, font_size=points, stroke_width=2, stroke_fill="black")


def _coloured(share: np.ndarray, colours: Sequence[int]) -> np.ndarray:
    """Return the colours, 0 to 255, of shares 0 to 1: (..., 3)."""
    table = np.array([[colour >> 16, colour >> 8 & 255, colour & 255] for colour in colours])
    steps = np.linspace(0, 1, len(colours))
    return np.stack([np.interp(share, steps, channel) for channel in table.T], axis=-1)


def _draw_colour_bars(picture: Image, x: int, shown: Shown) -> None:
    """Draw a bar for brighter and one for darker, from the floor to the ceiling."""
    from PIL import Image, ImageDraw

    draw = ImageDraw.Draw(picture)
    height = round(BAR_HEIGHT * picture.height)
    for row, (name, colours) in enumerate(shown.colours.items()):
        top = TITLE_HEIGHT + 3 * TEXT_SIZE + row * (height + 6 * TEXT_SIZE)
        column = _coloured(np.linspace(1, 0, height), colours)[:, None].repeat(18, axis=1)
        picture.paste(Image.fromarray(column.astype(np.uint8)), (x, top))
        draw.text((x, top - 2 * TEXT_SIZE), name, fill="white", font_size=TEXT_SIZE)
        for step in range(BAR_STEPS + 1):
            y = top + height - round(height * step / BAR_STEPS) - TEXT_SIZE // 2
            value = shown.floor + (shown.ceiling - shown.floor) * step / BAR_STEPS
            draw.text((x + 24, y), f"{value:.3g}", fill="white", font_size=TEXT_SIZE)
