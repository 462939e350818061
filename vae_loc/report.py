"""Pictures where people would rather look than read: the montage of a scan and its map."""

from __future__ import annotations

import importlib.util
import io
import logging
import os
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import nibabel as nib
import numpy as np

from vae_loc.errors import printable
from vae_loc.volume import BoolArray, FloatArray, Volume

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ROWS, COLUMNS = 4, 6  # slices shown, evenly spaced through the brain
WINDOW_PERCENTILES = (1, 99)  # of the brain's intensities, black to white
COLOURS = "inferno"
MAX_OPACITY = 0.75  # of the map over the scan
DOTS_PER_INCH = 110
MATPLOTLIB_FOLDERS = ("MPLCONFIGDIR", "XDG_CONFIG_HOME")
MAX_TITLE = 160  # characters; of a longer name the end is shown


def prepare_matplotlib() -> None:
    """Import matplotlib so that it needs no folder of its own, and no settings from elsewhere have a say.

    It would take a `matplotlibrc` from the working directory, which may switch on LaTeX; and where the
    home cannot be written it would make a folder in TMPDIR, or stop if that cannot be written either.
    """
    if "matplotlib" in sys.modules:
        return
    spec = importlib.util.find_spec("matplotlib")
    own = Path(spec.origin).parent / "mpl-data" / "matplotlibrc" if spec and spec.origin else Path()
    home = next((os.environ[name] for name in MATPLOTLIB_FOLDERS if os.environ.get(name)), "~/.config/matplotlib")
    try:
        Path(home).expanduser().mkdir(parents=True, exist_ok=True)
        writable = os.access(Path(home).expanduser(), os.W_OK)
    except (OSError, RuntimeError):  # RuntimeError: a user without a home
        writable = False
    if not writable:
        os.environ["MATPLOTLIBRC"] = str(own)
    import matplotlib as mpl

    if not writable:
        mpl.get_cachedir = lambda: os.devnull
        logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)
    dict.update(mpl.rcParams, mpl.rcParamsDefault)


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
    prepare_matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    found = np.zeros_like(brain) if mask is None else mask
    layers = tuple(_axial(array, volume) for array in (volume.data, scores, brain, found))
    heights = np.flatnonzero(layers[2].any(axis=(1, 2)))
    shown = heights[np.linspace(0, len(heights) - 1, ROWS * COLUMNS + 2).round().astype(int)[1:-1]]
    rows, columns = (slice(int(used.min()), int(used.max()) + 1) for used in np.nonzero(layers[2].any(axis=0)))
    aspect = _axis_spacing(volume)[1] / _axis_spacing(volume)[0]
    proportion = aspect * (rows.stop - rows.start) / (columns.stop - columns.start)
    figure = Figure(figsize=(2 * COLUMNS + 1, 2 * ROWS * proportion + 0.8), facecolor="black")
    FigureCanvasAgg(figure)
    axes = figure.subplots(ROWS, COLUMNS, gridspec_kw={"wspace": 0.02, "hspace": 0.02})
    low, high = np.percentile(volume.data[brain], WINDOW_PERCENTILES)
    for axis, k in zip(axes.ravel(), shown, strict=True):
        _draw_slice(axis, [layer[k, rows, columns] for layer in layers], (low, high), ceiling or 1, aspect)
        _write(axis, 0.02, 0.95, _height_label(volume, int(k)))
    for left, right in axes[:, [0, -1]]:
        _write(left, 0.005, 0.5, "R", size=10)
        _write(right, 0.93, 0.5, "L", size=10)
    figure.subplots_adjust(left=0.01, right=0.91, top=1 - 0.4 / figure.get_figheight(), bottom=0.02)
    _draw_colour_bar(figure, ceiling or 1)
    shown_title = printable(title)[-MAX_TITLE:]
    y = 1 - 0.1 / figure.get_figheight()
    figure.suptitle(shown_title, color="white", fontsize=9, y=y, va="top", parse_math=False)
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # a name in a script that the font does not have
        figure.savefig(buffer, format="png", dpi=DOTS_PER_INCH, facecolor="black", metadata={"Software": None})
    return buffer.getvalue()


def _draw_slice(
    axis: Axes, layers: list[np.ndarray], window: tuple[float, float], ceiling: float, aspect: float
) -> None:
    """Draw scan, map and the outlines of brain and mask of one slice, (rows, columns) each."""
    scan, heat, brain, found = layers
    axis.imshow(scan, cmap="gray", vmin=window[0], vmax=window[1], aspect=aspect)
    opacity = MAX_OPACITY * np.clip(heat / ceiling, 0, 1)
    axis.imshow(heat, cmap=COLOURS, vmin=0, vmax=ceiling, alpha=opacity, aspect=aspect)
    for outline, colour in ((brain, "#6f6f6f"), (found, "cyan")):
        if outline.any():
            axis.contour(outline, levels=[0.5], colors=colour, linewidths=0.8)
    axis.set_axis_off()


def _write(axis: Axes, x: float, y: float, text: str, size: float = 7) -> None:
    axis.text(x, y, text, color="yellow", fontsize=size, va="center", transform=axis.transAxes)


def _draw_colour_bar(figure: Figure, ceiling: float) -> None:
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    place = figure.add_axes((0.925, 0.15, 0.015, 0.7))
    bar = figure.colorbar(ScalarMappable(Normalize(0, ceiling), COLOURS), cax=place)
    bar.ax.tick_params(colors="white", labelsize=7)


def _orientation(volume: Volume) -> np.ndarray:
    """Transform of array axes to (S, P, L): slices upwards, rows to the back, columns to the left."""
    start = nib.orientations.io_orientation(volume.affine)
    end = nib.orientations.axcodes2ornt("SPL")
    return np.asarray(nib.orientations.ornt_transform(start, end))


def _axial(array: np.ndarray, volume: Volume) -> np.ndarray:
    return np.asarray(nib.orientations.apply_orientation(array, _orientation(volume)))


def _axis_spacing(volume: Volume) -> tuple[float, float]:
    """(column, row) spacing in mm of the pictures."""
    order = np.argsort(_orientation(volume)[:, 0])
    spacing = np.array(volume.spacing_mm)[order]
    return float(spacing[2]), float(spacing[1])


def _height_label(volume: Volume, k: int) -> str:
    """Height in RAS+ mm of the centre of slice `k` in the pictures."""
    affine = volume.affine @ nib.orientations.inv_ornt_aff(_orientation(volume), volume.data.shape)
    shape = _axial(volume.data, volume).shape
    centre = affine @ [k, (shape[1] - 1) / 2, (shape[2] - 1) / 2, 1]
    return f"z {centre[2]:+.0f} mm"
