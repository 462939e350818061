"""Figures of an evaluation: ROC, PR, Dice by threshold, subjects, FROC of findings; PNG and SVG."""

from __future__ import annotations

import io
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vae_loc.evaluation.cohort_metrics import Evaluation
from vae_loc.evaluation.record import Missing
from vae_loc.evaluation.scan_metrics import BASELINES
from vae_loc.system.writing import write_atomically
from vae_loc.vocabulary import EVALUATED

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# colour-blind safe
HUES = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#000000")
COLOURS: dict[str, str] = dict(zip(EVALUATED, HUES, strict=True))
BASELINE_COLOUR = "#888888"
BASELINE_STYLES = dict(zip(BASELINES, ("-", "--", "-.", (0, (5, 1)), (0, (1, 1))), strict=True))
LEAST_SHARE = 1e-5  # on a logarithmic axis


def save_figures(result: Evaluation, folder: Path) -> list[Path]:
    """Write every figure that has something to show, as PNG and SVG; return the paths."""
    drawings: dict[str, Callable[[Axes, Evaluation], None]] = {
        "roc": _roc,
        "pr": _precision_recall,
        "dice": _dice,
        "subjects": _subjects,
        "froc": _froc,
    }
    paths = []
    for name, draw in drawings.items():
        figure = blank_figure((6.4, 4.8))
        axis = figure.subplots()
        draw(axis, result)
        if axis.get_legend_handles_labels()[0]:
            axis.legend(fontsize=7, frameon=False)
        if axis.has_data():
            paths += save_figure(figure, folder, name)
    return paths


def blank_figure(size_inches: tuple[float, float]) -> Figure:
    """Return a figure that needs no display, by settings of its own: a `matplotlibrc` nearby may switch on LaTeX."""
    is_first = "matplotlib" not in sys.modules
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # it warns of a home that cannot be written
    import matplotlib as mpl
    from matplotlib.figure import Figure

    if is_first:
        dict.update(mpl.rcParams, mpl.rcParamsDefault)
    return Figure(figsize=size_inches, layout="constrained")


def save_figure(figure: Figure, folder: Path, name: str) -> list[Path]:
    """Write a figure as PNG and SVG; return the paths. The same figure is the same bytes: no date, a fixed salt."""
    import matplotlib as mpl

    paths = []
    with mpl.rc_context({"svg.hashsalt": "vae-loc"}):
        for kind, facts in (("png", {"Software": None}), ("svg", {"Date": None})):
            buffer = io.BytesIO()
            figure.savefig(buffer, format=kind, dpi=120, metadata=facts)
            path = folder / f"{name}.{kind}"
            write_atomically(path, buffer.getvalue())
            paths.append(path)
    return paths


def _curves(axis: Axes, result: Evaluation, names: tuple[str, str], *, least: float = 0, start: bool = False) -> None:
    """Draw one rate of each map's curve against another, x being at least `least`; `start` puts (0, 0) before it."""
    for name, rates in result.curves.items():
        if not all(np.isfinite(rates[of]).all() for of in ("tpr", "fpr")):
            continue  # no voxel is annotated, or each is
        x, y = (np.append(0, rates[of]) if start else rates[of] for of in names)
        colour, style = COLOURS.get(name, BASELINE_COLOUR), BASELINE_STYLES.get(name, "-")
        axis.plot(np.maximum(x, least), y, label=name, lw=1.2, color=colour, linestyle=style)


def _roc(axis: Axes, result: Evaluation) -> None:
    _curves(axis, result, ("fpr", "tpr"), start=True)
    axis.set(xlabel="false-positive rate", ylabel="true-positive rate", title="ROC, in-brain voxels, pooled")


def _precision_recall(axis: Axes, result: Evaluation) -> None:
    _curves(axis, result, ("tpr", "precision"))
    axis.set(xlabel="recall", ylabel="precision", title="Precision and recall, in-brain voxels, pooled", ylim=(0, 1))


def _dice(axis: Axes, result: Evaluation) -> None:
    """Draw Dice; thresholds of different maps have different units, so that x is the share of other voxels marked."""
    _curves(axis, result, ("fpr", "dice"), least=LEAST_SHARE)
    axis.set(xscale="log", xlabel="threshold, as the share of unannotated voxels above it", ylabel="Dice")
    axis.set_title("Dice, in-brain voxels, pooled")


def _subjects(axis: Axes, result: Evaluation) -> None:
    rows = [row for measured in result.measured for row in measured.rows]
    names = list(result.curves)
    for place, name in enumerate(names):
        values = [ap for row in rows if row.map == name and (ap := row.figures["average_precision"]) is not None]
        if values:
            colour = COLOURS.get(name, BASELINE_COLOUR)
            axis.plot(np.full(len(values), place), values, "o", ms=4, alpha=0.6, color=colour)
            axis.plot([place - 0.3, place + 0.3], [np.mean(values)] * 2, color="black", lw=1.5)
    axis.set_xticks(range(len(names)), names, rotation=30, ha="right", fontsize=7)
    axis.set(ylabel="average precision", title="Every subject; bar: mean")


def _froc(axis: Axes, result: Evaluation) -> None:
    """Draw lesions found against false findings: measured on healthy scans where there are any, else on patients."""
    measured = False
    for name, table in result.record.findings.items():
        if isinstance(table, Missing):
            continue
        rates = []
        for point in table.points:
            measured = not isinstance(point.healthy_findings, Missing)
            of = point.false_per_patient if isinstance(point.healthy_findings, Missing) else point.healthy_findings
            if of.mean is not None and point.sensitivity is not None:
                rates.append((of.mean, point.sensitivity))
        if rates:
            axis.plot(*zip(*rates, strict=True), "o-", ms=3, lw=1.2, label=name, color=COLOURS[name])
    false = "findings per healthy scan, measured" if measured else "false findings per patient"
    axis.set(xlabel=false, ylabel="share of lesions found", title="FROC of findings", ylim=(0, 1))
