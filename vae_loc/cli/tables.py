"""An evaluation or a calibration as tables on screen."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from vae_loc.evaluation.cohort_metrics import Evaluation
from vae_loc.evaluation.record import Interval
from vae_loc.training.labelled_thresholds import FoldDice
from vae_loc.vocabulary import METHODS

if TYPE_CHECKING:
    from rich.table import Table

RANKED = {"AUROC": "auroc", "AP": "average_precision", "oracle Dice": "oracle_dice"}
THRESHOLDED = {
    "Dice calibrated": "dice_calibrated",
    "Dice at 5 %": "dice_fpr 5%",
    "flagged at 5 %": "flagged_fpr 5%",
}
POOLED = ("AUROC", "AP", "AUROC, paper's")  # the last counts the background


def evaluation_tables(result: Evaluation) -> list[Table]:
    """Return three tables, baselines first: ranking, masks, and all voxels pooled."""
    ranked = _table("In-brain voxels, mean over subjects [95 % bootstrap over subjects]", RANKED, _beaten(result))
    masks = _table("Masks: Dice, and unannotated voxels flagged", THRESHOLDED)
    pooled = _table("All voxels pooled; the paper's way counts the background: trust neither alone", POOLED)
    for name, figures in result.record.pixel.items():
        style = None if name in METHODS else "dim"
        of = figures.per_subject or {}
        if of:
            ranked.add_row(name, *(_interval(of.get(figure)) for figure in RANKED.values()), style=style)
        if name in METHODS:
            masks.add_row(name, *(_interval(of.get(figure)) for figure in THRESHOLDED.values()))
        all_voxels = (figures.pooled.auroc, figures.pooled.average_precision) if figures.pooled else (None, None)
        pooled.add_row(name, *map(_number, (*all_voxels, figures.paper_protocol.auroc)), style=style)
    return [ranked, masks, pooled]


def _table(title: str, columns: Iterable[str], caption: str | None = None) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(title=title, caption=caption, box=box.SIMPLE, title_justify="left", caption_justify="left")
    table.add_column("map", no_wrap=True)
    for name in columns:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _beaten(result: Evaluation) -> str:
    """Return which baselines are not worse than the best map."""
    beaten = result.record.baselines_that_beat_the_model
    said = [f"{', '.join(names)} in {title}" for title, figure in RANKED.items() if (names := beaten.get(figure))]
    return f"NOT WORSE THAN THE BEST MAP: {'; '.join(said)}" if said else "No baseline reaches the best map."


def calibration_table(rows: Sequence[FoldDice]) -> Table:
    """Return the thresholds of every map and fold, and what they achieve on the other subjects."""
    columns = ("fold", "threshold", "Dice there", "on the others", "sd", "scans")
    table = _table("Threshold of maximal Dice on a fifth of the subjects; Dice on the others", columns)
    for name in dict.fromkeys(row.method for row in rows):
        of = [row for row in rows if row.method == name]
        for row in of:
            chosen = f"{row.threshold:.4g}", f"{row.calibration_dice:.3f}"
            table.add_row(name, str(row.fold + 1), *chosen, *_dice_cells([row]))
        if len(of) > 1:
            median = f"{np.median([row.threshold for row in of]):.4g}"
            table.add_row(name, "all", median, "", *_dice_cells(of), style="bold", end_section=True)
    return table


def _dice_cells(rows: Sequence[FoldDice]) -> tuple[str, str, str]:
    """Return mean, standard deviation and number of the Dice of reported scans."""
    known = [dice for row in rows for dice in row.dice.values() if dice is not None]
    spread = f"{np.std(known, ddof=1):.3f}" if len(known) > 1 else "-"
    return f"{np.mean(known):.3f}" if known else "-", spread, str(len(known))


def _number(value: object) -> str:
    return f"{value:.3f}" if isinstance(value, float) else "-"


def _interval(values: Interval | None) -> str:
    if values is None or values.mean is None:
        return "-"
    if values.low is None:
        return _number(values.mean)
    return f"{_number(values.mean)} [{_number(values.low)}, {_number(values.high)}]"
