"""An evaluation or a calibration as tables: on screen and as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from vae_loc.checkpoint import METHODS
from vae_loc.evaluation import Evaluation, MapFigures
from vae_loc.labelled import FoldDice
from vae_loc.metrics import Interval

if TYPE_CHECKING:
    from rich.table import Table

SHOWN = {
    "AUROC": "auroc",
    "AP": "average_precision",
    "oracle Dice": "oracle_dice",
    "Dice calibrated": "dice_calibrated",
    "Dice at 5 %": "dice_fpr 5%",
    "flagged at 5 %": "flagged_fpr 5%",
}


def to_csv(records: Sequence[Mapping[str, object]]) -> bytes:
    """Return records as CSV, UTF-8; None is an empty cell."""
    buffer = io.StringIO()
    columns = list(dict.fromkeys(name for record in records for name in record))
    writer = csv.DictWriter(buffer, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return buffer.getvalue().encode("utf-8", "backslashreplace")


def evaluation_table(result: Evaluation) -> Table:
    """Return the table of per-subject means with their intervals, baselines first."""
    from rich.table import Table

    table = Table(title="In-brain voxels; mean over subjects [95 % bootstrap over subjects]")
    table.add_column("map", no_wrap=True)
    for name in (*SHOWN, "pooled AUROC", "pooled AP", "paper's AUROC (background counted)"):
        table.add_column(name, justify="right")
    pixel = result.summary["pixel"]
    for name, entry in pixel.items() if isinstance(pixel, dict) else ():
        table.add_row(name, *_cells(entry), style=None if name in METHODS else "dim")
    return table


def _cells(entry: MapFigures) -> list[str]:
    per_subject, pooled = entry.get("per_subject", {}), entry.get("pooled", {})
    cells = [_interval(per_subject.get(figure)) for figure in SHOWN.values()]
    cells += [_number(pooled.get(figure)) for figure in ("auroc", "average_precision")]
    return [*cells, _number(entry.get("paper_protocol", {}).get("auroc"))]


def calibration_table(rows: Sequence[FoldDice]) -> Table:
    """Return the thresholds of every map and fold, and what they achieve on the other subjects."""
    from rich.table import Table

    table = Table(title="Thresholds of maximal Dice on a fifth of the subjects; Dice on the others")
    for name in ("map", "fold", "threshold", "Dice on the fifth", "Dice on the others (mean)", "sd", "scans"):
        table.add_column(name, justify="left" if name == "map" else "right")
    for row in rows:
        known = [dice for dice in row.dice.values() if dice is not None]
        spread = f"{np.std(known, ddof=1):.3f}" if len(known) > 1 else "-"
        mean = f"{np.mean(known):.3f}" if known else "-"
        chosen = f"{row.threshold:.4g}", f"{row.calibration_dice:.3f}"
        table.add_row(row.method, str(row.fold + 1), *chosen, mean, spread, str(len(known)))
    return table


def _number(value: object) -> str:
    return f"{value:.3f}" if isinstance(value, float) else "-"


def _interval(values: Interval | None) -> str:
    if not values or values["mean"] is None:
        return "-"
    if values["low"] is None:
        return _number(values["mean"])
    return f"{_number(values['mean'])} [{_number(values['low'])}, {_number(values['high'])}]"
