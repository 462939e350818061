"""A matplotlib figure of a scan, its map, and the outlines of its findings."""

from __future__ import annotations

import functools
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from vae_loc.errors import UnusableOption, printable
from vae_loc.results.montage import VIEWS, Slices
from vae_loc.scoring.finding_model import Finding

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FIGURE_ROWS = 3  # at most, each a slice with the strongest findings
INCHES = 3.2  # of one picture's width
MAP_COLOURS = "RdBu_r"  # red is brighter, blue is darker than expected; told apart by colour-blind readers
OUTLINE = "#00b4b4"
NUMBER_BOX = {"facecolor": "black", "pad": 1}  # of the number beside an outline, else lost on bright tissue
OUTLINE_POINTS, OWN_POINTS = 0.8, 2.0  # of a finding, and of one that the slice is shown for
MAP_OPACITY = 0.55  # of the map over the scan


def scan_figure(slices: Slices, findings: Sequence[Finding], *, title: str) -> Figure:
    """Return a figure with one row for each slice of the strongest findings, else one for the middle of the brain.

    The columns are the scan, the whole map with its sign, and the scan with the findings: the map in them, their
    outlines and their numbers.

    Raises
    ------
    UnusableOption : if matplotlib is not installed.

    Radiological view: the patient's right is on the left of the picture, front is up.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise UnusableOption("plot", "expected matplotlib, it is not installed; pip install matplotlib") from error
    rows = slices.of_findings(findings)[:FIGURE_ROWS]
    rows = rows or [(int(slices.layers[2].sum(axis=(1, 2)).argmax()), [])]
    width, height = slices.tile
    size = INCHES * len(VIEWS) + 1.35, INCHES * height / width * len(rows) + 0.6
    figure = Figure(figsize=size, layout="constrained")
    figure.suptitle(printable(title), fontsize="medium")
    axes = figure.subplots(len(rows), len(VIEWS), squeeze=False)
    for row, (at, of) in zip(axes, rows, strict=True):
        _draw_row(list(row), slices, at, [finding.number for finding in of])
        row[0].set_ylabel(("" if of else "no finding, ") + slices.caption(at, of), fontsize="small")
    for column, name in zip(axes[0], VIEWS, strict=True):
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


def _draw_row(axes: Sequence[Axes], slices: Slices, at: int, own: Sequence[int]) -> None:
    """Draw one axial slice three times: scan, map, and scan with the findings; the outlines of `own` are heavier."""
    scan, signed, brain, numbers = (layer[at] for layer in slices.layers)
    extent = (0, *slices.tile, 0)
    ceiling = slices.shown.ceiling
    findings = np.ma.masked_where(~slices.coloured(at), signed)
    for axis, values in zip(axes, (None, np.ma.masked_where(~brain, signed), findings), strict=True):
        axis.set(xticks=[], yticks=[], facecolor="black")
        if axis is not axes[1]:
            axis.imshow(scan, cmap="gray", vmin=slices.window[0], vmax=slices.window[1], extent=extent)
        if values is not None:
            opacity = 1.0 if axis is axes[1] else MAP_OPACITY
            axis.imshow(values, cmap=MAP_COLOURS, vmin=-ceiling, vmax=ceiling, extent=extent, alpha=opacity)
    x, y = (
        (np.arange(count) + 0.5) * side / count for count, side in zip(numbers.shape[::-1], slices.tile, strict=True)
    )
    for number in np.unique(numbers[numbers > 0]):
        inside = numbers == number
        points = OWN_POINTS if number in own else OUTLINE_POINTS
        axes[2].contour(x, y, inside, levels=[0.5], colors=[OUTLINE], linewidths=points)
        rows, columns = np.nonzero(inside)
        axes[2].text(x[columns.max()], y[rows[columns.argmax()]], f" {number}", color="cyan", bbox=NUMBER_BOX)
    for x_share, side in ((0.02, "R"), (0.93, "L")):
        axes[0].text(x_share, 0.5, side, color="yellow", transform=axes[0].transAxes)
