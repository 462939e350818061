"""The mixture's table, figure and page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from reproduction.gaussian_mixture.runs import (
    HIDDEN,
    LATENTS,
    NODES,
    QUICK_STEPS,
    REACH,
    SAMPLES,
    SCORES,
    SETTING,
    STEPS,
    fields,
    grid,
    log_density,
    trained,
)
from reproduction.pages import CITATION, Entry, markdown_table, spread, write_page
from reproduction.sweep import Row, aggregated
from vae_loc.evaluation.plots import blank_figure, save_figure
from vae_loc.system.reading import to_csv
from vae_loc.system.writing import write_atomically

ARROW_STEP = 8  # nodes of the grid between two arrows
FLOOR_NATS = 12.0  # below the highest value: what is lower is as dark
STEEP_PERCENTILE = 97  # of the gradient's magnitude: what is steeper is as bright
TITLES = {"density": "log p(x), true", "elbo": "ELBO", "kl": "-KL", "rec": "-Rec"}


def write_mixture(rows: Sequence[Row], folder: Path, *, quick: bool) -> list[Path]:
    """Write `table.csv`, the figure of seed 0 and `README.md`; return the paths."""
    measures = [f"{score} {kind}" for score in SCORES for kind in ("rank", "cosine")]
    table = aggregated(rows, SETTING, [*measures, "elbo gap_nats"])
    path = folder / "table.csv"
    write_atomically(path, to_csv(table))
    figures = _figure(rows[0], folder, QUICK_STEPS if quick else STEPS)
    return [folder / "runs.csv", path, *figures, _page(table[0], folder)]


def _figure(key: Row, folder: Path, steps: int) -> list[Path]:
    """Draw the values with gradients as arrows, and below the gradients' magnitudes."""
    points = grid()
    scores = fields(trained(key, steps), points, key)
    truth, gradient = log_density(points)
    values, gradients = {"density": truth} | scores.values, {"density": gradient} | scores.gradients
    figure = blank_figure((13.0, 6.2))
    axes = figure.subplots(2, len(TITLES), sharex=True, sharey=True)
    extent = (-REACH, REACH, -REACH, REACH)
    few = (slice(ARROW_STEP // 2, None, ARROW_STEP),) * 2
    x, y = (points[:, i].reshape(NODES, NODES)[few] for i in range(2))
    for column, (name, title) in enumerate(TITLES.items()):
        shown = np.maximum(values[name], values[name].max() - FLOOR_NATS).reshape(NODES, NODES)
        slope = gradients[name].reshape(NODES, NODES, 2)
        steep = np.linalg.norm(slope, axis=2)
        upper, lower = axes[0, column], axes[1, column]
        heat = upper.imshow(shown, origin="lower", extent=extent, cmap="viridis")
        figure.colorbar(heat, ax=upper, shrink=0.8)
        unit = slope[few] / np.maximum(steep[few], 1e-12)[..., None]
        upper.quiver(x, y, unit[..., 0], unit[..., 1], color="white", scale=16, width=0.006)
        upper.set_title(title, fontsize=10)
        limit = float(np.percentile(steep, STEEP_PERCENTILE))
        heat = lower.imshow(steep, origin="lower", extent=extent, cmap="magma", vmin=0, vmax=limit)
        figure.colorbar(heat, ax=lower, shrink=0.8)
    axes[0, 0].set_ylabel("value, nats; direction of ascent")
    axes[1, 0].set_ylabel("magnitude of the gradient")
    return save_figure(figure, folder, "figure")


def _page(entry: Entry, folder: Path) -> Path:
    rows = [[TITLES[name], spread(entry, f"{name} rank"), spread(entry, f"{name} cosine")] for name in SCORES]
    columns = ["score", "rank correlation with log p", "cosine of the gradients"]
    parts = [
        f"`python -m reproduction gaussian-mixture --protocol {entry['protocol']}`",
        f"After the supplement of {CITATION}. Three Gaussians in the plane; {SAMPLES} points of them train a VAE with "
        f"{LATENTS} latents, hidden layers {HIDDEN}, c = {entry['c']}. Its scores over a grid of {NODES}x{NODES} "
        "points are compared with the density that is known. Under `authors` KL takes sigma for log sigma, as their "
        "brain script does.",
        "![Values with directions of ascent, and magnitudes of gradients](figure.png)",
        "Above: values, cut 12 nats below the highest, and the direction of ascent. Below: the gradient's magnitude. "
        "Each with its own scale. Seed 0.",
        markdown_table(columns, rows),
        f"Over the whole grid, {entry['seeds']} seeds: mean [lowest, highest]. Where the density exceeds 0.001, "
        f"log p - ELBO is {spread(entry, 'elbo gap_nats')} nats.",
    ]
    return write_page(folder, "Gaussian mixture", parts)
