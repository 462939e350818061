"""Where scores stand among healthy ones, as coordinates for the report's drawings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

WIDTH, HEIGHT = 600.0, 150.0  # of a drawing, in its own units
EDGE = 0.04  # of the width, free on both sides
SHOWN = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)  # healthy quantiles of a strip


@dataclass(frozen=True)
class Strip:
    """A score on a line: `marks` are the x of the healthy quantiles `SHOWN`, `at` is the x of the scan."""

    name: str
    value: float
    percentile: float
    marks: tuple[float, ...]
    at: float
    healthy: tuple[float, float]


@dataclass(frozen=True)
class Profile:
    """A score by height: the line's points, and y of the healthy band's limits."""

    line: str
    band: tuple[float, float]
    heights: tuple[tuple[float, str], ...]
    values: tuple[tuple[float, str], ...]


def strip(name: str, value: float, percentile: float, quantiles: Sequence[float], levels: NDArray[np.float64]) -> Strip:
    """Return the place of a scan's score among the healthy quantiles (N,) at `levels` (N,), 0 to 1.

    >>> strip("kl", 3.0, 50.0, [1.0, 3.0, 5.0], np.array([0.0, 0.5, 1.0])).at
    300.0
    """
    healthy = np.interp(SHOWN, levels, quantiles)
    x = _axis(min(healthy[0], value), max(healthy[-1], value), WIDTH)
    marks = tuple(round(x(mark), 1) for mark in healthy)
    return Strip(name, value, percentile, marks, round(x(value), 1), (float(healthy[1]), float(healthy[-2])))


def profile(heights_mm: Sequence[float], values: Sequence[float], band: tuple[float, float]) -> Profile:
    """Draw a score of slices against their height, with the range of healthy slices of all heights."""
    x = _axis(min(heights_mm), max(heights_mm), WIDTH)
    top, bottom = max(*values, band[1]), min(*values, band[0])
    y = _axis(bottom, top, HEIGHT)
    points = sorted(zip(heights_mm, values, strict=True))
    line = " ".join(f"{x(height):.1f},{HEIGHT - y(value):.1f}" for height, value in points)
    lowest, highest = points[0][0], points[-1][0]
    return Profile(
        line=line,
        band=(round(HEIGHT - y(band[1]), 1), round(HEIGHT - y(band[0]), 1)),
        heights=tuple((x(z), f"{z:+.0f}") for z in np.linspace(lowest, highest, 5)),
        values=tuple((HEIGHT - y(value), f"{value:.0f}") for value in (bottom, top)),
    )


def _axis(low: float, high: float, length: float) -> Callable[[float], float]:
    """Return the way from values to a drawing's coordinates, with an edge left free."""
    span = (high - low) or 1.0
    return lambda value: float((EDGE + (1 - 2 * EDGE) * (value - low) / span) * length)
