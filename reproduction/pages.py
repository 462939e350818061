"""Parts of the experiments' pages: a Markdown table, a curve with its band, a page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from reproduction.sweep import TIMING, read_rows
from vae_loc.system.versions import own_version
from vae_loc.system.writing import write_atomically

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Entry = Mapping[str, str | float | int]

CITATION = (
    "Zimmerer, Isensee, Petersen, Kohl, Maier-Hein: Unsupervised Anomaly Localization using Variational "
    "Auto-Encoders, MICCAI 2019, [arXiv:1907.02796](https://arxiv.org/abs/1907.02796)"
)
BAND_OPACITY = 0.2


def markdown_table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return a table; the first column left, the others right.

    >>> print(markdown_table(["a", "b"], [["x", 1]]))
    | a | b |
    |---|--:|
    | x | 1 |
    """
    lines: list[Sequence[object]] = [columns, ["---", *["--:"] * (len(columns) - 1)], *rows]
    marks = {1: "|"}
    return "\n".join(
        "|" + "|".join(map(str, line)) + "|" if index in marks else "| " + " | ".join(map(str, line)) + " |"
        for index, line in enumerate(lines)
    )


def spread(entry: Entry, score: str) -> str:
    """Return mean, lowest and highest of a score, as in a table of `aggregated`; the mean alone if they are one.

    >>> spread({"kl mean": 0.5, "kl min": 0.4, "kl max": 0.625}, "kl")
    '0.500 [0.400, 0.625]'
    """
    values = [entry[f"{score} {name}"] for name in ("mean", "min", "max")]
    if "" in values:
        return "-"
    mean, low, high = (float(value) for value in values)
    if low == high:
        return f"{mean:.3f}"
    return f"{mean:.3f} [{low:.3f}, {high:.3f}]"


def options_of(protocol: str | float) -> str:
    """Return the options that ask for a protocol as a table names it.

    >>> options_of("fast-2000")
    '--protocol fast --steps 2000'
    """
    name, _, steps = str(protocol).partition("-")
    return f"--protocol {name}" + (f" --steps {steps}" if steps else "")


def draw_spread(
    axis: Axes,
    x: Sequence[float],
    entries: Sequence[Entry],
    score: str,
    label: str,
    colour: str,
    *,
    classes: bool = False,
) -> None:
    """Draw the mean over the seeds as a line, lowest to highest as a band; between classes there is no line."""
    mean, low, high = ([_number(entry[f"{score} {name}"]) for entry in entries] for name in ("mean", "min", "max"))
    if classes:
        axis.plot(x, mean, "o", ms=4, label=label, color=colour)
        axis.vlines(x, low, high, color=colour, lw=1.2)
        return
    axis.plot(x, mean, "o-", ms=3, lw=1.2, label=label, color=colour)
    axis.fill_between(x, low, high, color=colour, alpha=BAND_OPACITY, lw=0)


def write_page(folder: Path, title: str, paragraphs: Sequence[str]) -> Path:
    """Write the folder's README.md, and how long its runs took."""
    times = read_rows(folder / TIMING)
    parts = [f"# {title}", *paragraphs]
    if times:
        wall_s, cpu_s = (sum(float(row[name]) for row in times) for name in ("wall_s", "cpu_s"))
        parts.append(
            f"{len(times)} runs: {wall_s / 60:.1f} minutes of wall time one after the other, {cpu_s / 60:.1f} of CPU "
            f"([timing.csv](timing.csv)). vae-loc {own_version()}."
        )
    path = folder / "README.md"
    write_atomically(path, ("\n\n".join(parts) + "\n").encode())
    return path


def _number(value: str | float) -> float:
    return float(value) if value != "" else math.nan
