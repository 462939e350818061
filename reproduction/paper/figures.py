"""Fig. 1 and 2 of the paper, and the supplement's Fig. 2 of another cohort, in the layout that their captions state.

Only the captions are at hand, not the pictures: the order of the panels follows section 2.3.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from reproduction.brain.page import COLOURS, PIXEL, SAMPLE, panels_of
from reproduction.brain.runs import AXES as BRAIN_AXES
from reproduction.fashion_mnist.page import draw_panel
from reproduction.fashion_mnist.page import panels_of as fashion_panels_of
from reproduction.pages import Entry, draw_spread
from vae_loc.evaluation.plots import blank_figure, save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NAMES = {"ms": "multiple sclerosis"}
TITLES = {
    "auroc all pixels": "AUROC, background counted",
    "auroc": "AUROC, inside the brain",
}


def draw_figure_1(fashion: Sequence[Entry], brain: Sequence[Entry], cohort: str, folder: Path) -> list[Path]:
    """Draw the sample-wise AUROC: FashionMNIST in the first row, brains in the second."""
    figure = blank_figure((14.0, 6.4))
    axes = figure.subplots(2, 4, sharey=True)
    for axis, panel in zip(axes[0], fashion_panels_of(fashion), strict=True):
        draw_panel(axis, panel)
    draw_brain(list(axes[1, :3]), brain, cohort, "sample auroc", {name: SAMPLE[name] for name in ("kl", "rec", "elbo")})
    axes[1, 3].set_axis_off()
    axes[0, 0].set_ylabel("AUROC, FashionMNIST")
    axes[1, 0].set_ylabel(f"AUROC, slices, {cohort}")
    axes[0, 0].legend(fontsize=8, frameon=False)
    return save_figure(figure, folder, "figure-1")


def draw_figure_2(brain: Sequence[Entry], cohort: str, folder: Path, name: str) -> list[Path]:
    """Draw the pixel-wise AUROC of the five maps, with the background above and inside the brain below."""
    figure = blank_figure((12.0, 6.4))
    axes = figure.subplots(2, len(BRAIN_AXES) - 1, sharey="row")
    maps = {score: title for score, title in PIXEL.items() if score != "intensity"}
    for row, (kind, title) in zip(axes, TITLES.items(), strict=True):
        draw_brain(list(row), brain, cohort, kind, maps)
        row[0].set_ylabel(title)
        row[0].set_ylim(0.5 if kind == "auroc all pixels" else 0.0, 1.0)
    axes[0, -1].legend(fontsize=7, frameon=False)
    figure.suptitle(NAMES.get(cohort, cohort), fontsize=11)
    return save_figure(figure, folder, name)


def draw_brain(axes: Sequence[Axes], table: Sequence[Entry], cohort: str, kind: str, scores: dict[str, str]) -> None:
    """Draw the AUROC of some scores over size of z, c and image size."""
    for axis, (column, title, scale, entries) in zip(axes, panels_of(table), strict=True):
        x = [float(entry[column]) for entry in entries]
        for score, label in scores.items():
            draw_spread(axis, x, entries, f"{cohort}/{score} {kind}", label, COLOURS[score])
        axis.set(xscale=scale, xlabel=title)
        axis.set_xticks(x, [f"{value:g}" for value in x])
        axis.minorticks_off()
        axis.axhline(0.5, color="#aaaaaa", lw=0.8, zorder=0)
