"""A matplotlib figure of a scan, its map, and the outlines of its findings."""

from __future__ import annotations

import functools
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from vae_loc.errors import UnusableOption, printable
from vae_loc.results.montage import SHOWN_FINDINGS, Slices
from vae_loc.scoring.finding_model import Finding

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FIGURE_COLUMNS = ("scan", "map", "scan, map and outline")
INCHES = 3.2  # of one picture's width
MAP_COLOURS = "RdBu_r"  # red is brighter, blue is darker than expected; told apart by colour-blind readers
OUTLINE = "#00b4b4"
MAP_OPACITY = 0.55  # of the map over the scan


def scan_figure(slices: Slices, findings: Sequence[Finding], *, title: str) -> Figure:
    """Return a figure with one row for each of the strongest findings, else one row for the middle of the brain.

    The columns are the scan, the whole map with its sign, and the scan with what of the map is beyond the threshold
    and the outlines of the findings.

    Raises
    ------
    UnusableOption : if matplotlib is not installed.

    Radiological view: the patient's right is on the left of the picture, front is up.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise UnusableOption("plot", "expected matplotlib, it is not installed; pip install matplotlib") from error
    rows = [slices.pointed_at(finding) for finding in findings[:SHOWN_FINDINGS]]
    rows = rows or [(int(slices.layers[2].sum(axis=(1, 2)).argmax()), "no finding")]
    width, height = slices.tile
    size = INCHES * len(FIGURE_COLUMNS) + 1, INCHES * height / width * len(rows) + 0.8
    figure = Figure(figsize=size, layout="constrained")
    figure.suptitle(printable(title), fontsize="medium")
    axes = figure.subplots(len(rows), len(FIGURE_COLUMNS), squeeze=False)
    for row, (at, caption) in zip(axes, rows, strict=True):
        _draw_row(list(row), slices, at)
        row[0].set_ylabel(f"{caption}\nz {slices.heights_mm[at]:+.0f} mm", fontsize="small")
    for column, name in zip(axes[0], FIGURE_COLUMNS, strict=True):
        column.set_title(name, fontsize="small")
    bar = figure.colorbar(axes[0, 1].images[0], ax=list(axes.ravel()), shrink=0.7, extend="both")
    bar.set_label("darker than expected     brighter than expected")
    vars(figure)["_repr_png_"] = functools.partial(_png, figure)  # a notebook shows it, also without pyplot
    return figure


def _png(figure: Figure) -> bytes:
    """Return a figure as the bytes of a PNG."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def _draw_row(axes: Sequence[Axes], slices: Slices, at: int) -> None:
    """Draw one axial slice three times: scan, map, and scan with map and outline."""
    scan, signed, brain, mask = (layer[at] for layer in slices.layers)
    width, height = slices.tile
    extent = (0, width, height, 0)
    ceiling = slices.shown.ceiling
    beyond = np.ma.masked_where(np.abs(signed) <= slices.shown.floor, signed)
    for axis, values in zip(axes, (None, np.ma.masked_where(~brain, signed), beyond), strict=True):
        axis.set(xticks=[], yticks=[], facecolor="black")
        if axis is not axes[1]:
            axis.imshow(scan, cmap="gray", vmin=slices.window[0], vmax=slices.window[1], extent=extent)
        if values is not None:
            opacity = 1.0 if axis is axes[1] else MAP_OPACITY
            axis.imshow(values, cmap=MAP_COLOURS, vmin=-ceiling, vmax=ceiling, extent=extent, alpha=opacity)
    if mask.any():
        rows, columns = mask.shape
        x, y = (np.arange(columns) + 0.5) * width / columns, (np.arange(rows) + 0.5) * height / rows
        axes[2].contour(x, y, mask, levels=[0.5], colors=[OUTLINE], linewidths=1.2)
    for x_share, side in ((0.02, "R"), (0.93, "L")):
        axes[0].text(x_share, 0.5, side, color="yellow", transform=axes[0].transAxes)
