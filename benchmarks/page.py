"""Tables, means with intervals and words of the measured pages."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from vae_loc.evaluation.metrics import mean_interval


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a Markdown table.

    >>> print(table(["a", "b"], [["x", 1]]), end="")
    | a | b |
    |---|---|
    | x | 1 |
    """
    lines = [line(columns), "|---" * len(columns) + "|\n"]
    return "".join([*lines, *map(line, rows)])


def line(cells: Iterable[object]) -> str:
    """Return a row of a Markdown table."""
    return f"| {' | '.join(map(str, cells))} |\n"


def interval(values: Sequence[float], digits: int = 2) -> str:
    """Return a mean over people and the 95 % interval of a bootstrap over them."""
    of = mean_interval([float(value) for value in values])
    if of.mean is None or of.low is None or of.high is None:
        return "-" if of.mean is None else f"{of.mean:.{digits}f}"
    return f"{of.mean:.{digits}f} [{of.low:.{digits}f}, {of.high:.{digits}f}]"


def yes(value: bool) -> str:
    """Return yes or no."""
    return "yes" if value else "no"
