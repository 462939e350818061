"""The paper's statements (sections 3.1 to 4), each counted over the settings of a table of runs.

A statement of the form "in most cases" is counted: in how many settings is it so, for each seed. It *holds* if it is so
in more than half of the settings with every seed, *does not hold* if with no seed, and holds *in part* otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from reproduction.sweep import Row
from vae_loc.vocabulary import METHODS

Mark = Literal["holds", "in part", "does not hold"]
SHARE_OF_MOST = 0.5  # of the settings: our reading of "in most cases"
HIGH_AUROC = 0.9  # section 3.3
SHOWN: dict[str, str] = dict(zip(METHODS, ("Rec-Error", "KL-Grad", "Rec-Grad", "ELBO-Grad", "Combi"), strict=True))


@dataclass(frozen=True)
class Finding:
    """The measurement of a statement on one set of runs.

    Attributes
    ----------
    data : the runs: the cohort or the protocol
    text : the figures, with their spread over the seeds
    mark : whether the statement holds there
    seeds : how many the figures are of
    """

    data: str
    text: str
    mark: Mark
    seeds: int


def together(marks: Sequence[Mark]) -> Mark:
    """Return the mark of a statement that was looked at on several sets of runs.

    >>> together(["holds", "does not hold"])
    'in part'
    """
    return marks[0] if len(set(marks)) == 1 else "in part"


def mark_of(so: Sequence[bool]) -> Mark:
    """Return the mark of a statement that was looked at several times, once for each seed or part.

    >>> mark_of([True, False])
    'in part'
    """
    return "holds" if all(so) else "in part" if any(so) else "does not hold"


def by_seed(rows: Sequence[Row], setting: Sequence[str]) -> dict[str, list[Row]]:
    """Return the rows of each seed with which every setting was run."""
    settings = {tuple(row[name] for name in setting) for row in rows}
    seeds: dict[str, list[Row]] = {}
    for row in rows:
        seeds.setdefault(row["seed"], []).append(row)
    return {seed: some for seed, some in seeds.items() if len(some) == len(settings)}


def counted(data: str, rows: Sequence[Row], setting: Sequence[str], so: Callable[[Row], bool]) -> Finding:
    """Return in how many settings something is so: the mean over the seeds [lowest, highest]."""
    seeds = by_seed(rows, setting)
    counts = [sum(so(row) for row in some) for some in seeds.values()]
    total = len(next(iter(seeds.values())))
    mark = mark_of([count > SHARE_OF_MOST * total for count in counts])
    return Finding(data, f"{number(counts, 1)} of {total}", mark, len(seeds))


def number(values: Sequence[float], digits: int = 3) -> str:
    """Return the mean of values with the lowest and the highest.

    >>> number([8, 10, 10], 1), number([0.5, 0.5])
    ('9.3 [8, 10]', '0.500')
    """
    if len({round(value, digits) for value in values}) == 1:
        return f"{values[0]:g}" if float(values[0]).is_integer() else f"{values[0]:.{digits}f}"
    low, high = (f"{value:g}" if digits == 1 else f"{value:.{digits}f}" for value in (min(values), max(values)))
    return f"{np.mean(values):.{digits}f} [{low}, {high}]"


def value(row: Row, column: str) -> float:
    """Return a figure of a run.

    >>> value({"kl": "0.5"}, "kl")
    0.5
    """
    return float(row[column])


def rec_is_weaker(names: dict[str, str]) -> Callable[[Row], bool]:
    """Return a test: Rec separates worse than KL or than the ELBO (3.1); `names` are the columns of the scores."""
    return lambda row: value(row, names["rec"]) < max(value(row, names["kl"]), value(row, names["elbo"]))


def elbo_is_better(names: dict[str, str]) -> Callable[[Row], bool]:
    """Return a test: the ELBO, which includes KL, separates better than Rec alone (3.1)."""
    return lambda row: value(row, names["elbo"]) > value(row, names["rec"])


def map_columns(cohort: str, kind: str) -> dict[str, str]:
    """Return the columns of the five maps' AUROC; `kind` is `auroc` or `auroc all pixels`."""
    return {name: f"{cohort}/{name} {kind}" for name in METHODS}


def error_is_beaten(columns: dict[str, str]) -> Callable[[Row], bool]:
    """Return a test: some other map has a higher AUROC than Rec-Error (3.2)."""
    return lambda row: best_map(row, columns) != "rec-error"


def kl_or_combi_is_best(columns: dict[str, str]) -> Callable[[Row], bool]:
    """Return a test: KL-Grad or Combi is the best of the five maps (3.2)."""
    return lambda row: best_map(row, columns) in ("kl-grad", "combi")


def combi_beats_error(columns: dict[str, str]) -> Callable[[Row], bool]:
    """Return a test: Combi has a higher AUROC than Rec-Error (4)."""
    return lambda row: value(row, columns["combi"]) > value(row, columns["rec-error"])


def best_map(row: Row, columns: dict[str, str]) -> str:
    """Return the map of the highest AUROC."""
    return max(columns, key=lambda name: value(row, columns[name]))


def top_auroc(data: str, rows: Sequence[Row], setting: Sequence[str], columns: dict[str, str]) -> Finding:
    """Return the highest AUROC over settings and maps, for each seed, and its map: is it above 0.9 (3.3)?"""
    best = [
        max((value(row, column), name) for row in some for name, column in columns.items())
        for some in by_seed(rows, setting).values()
    ]
    mark = mark_of([top > HIGH_AUROC for top, _ in best])
    names = ", ".join(dict.fromkeys(SHOWN[name] for _, name in best))
    return Finding(data, f"{number([top for top, _ in best])} ({names})", mark, len(best))


def robustness(data: str, rows: Sequence[Row], setting: Sequence[str], columns: dict[str, str]) -> Finding:
    """Return how far each map's AUROC ranges over the settings: less for KL-Grad and Combi than for Rec-Error (3.3)?"""
    ranges = {
        name: [float(np.ptp([value(row, columns[name]) for row in some])) for some in by_seed(rows, setting).values()]
        for name in ("kl-grad", "combi", "rec-error")
    }
    means = {name: float(np.mean(some)) for name, some in ranges.items()}
    mark = mark_of([means[name] < means["rec-error"] for name in ("kl-grad", "combi")])
    text = ", ".join(f"{SHOWN[name]} {number(some)}" for name, some in ranges.items())
    return Finding(data, text, mark, len(ranges["combi"]))
