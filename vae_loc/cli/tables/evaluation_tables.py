"""An evaluation or a calibration as tables on screen."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from vae_loc.evaluation.cohort_metrics import Evaluation
from vae_loc.evaluation.lesions import CLASS_NAMES
from vae_loc.evaluation.record import FindingPoint, FindingTable, Interval, Missing
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
BRACKETS = "[95 % bootstrap over subjects]"
SHOWN_MAP = "combi"  # at all rates; the default of `score` and `segment`
POOLED = ("AUROC", "AP", "AUROC, paper's")  # the last counts the background


def evaluation_tables(result: Evaluation) -> list[Table]:
    """Return the tables of findings, then those of voxels: ranking, masks, and all pooled."""
    return [*_finding_tables(result), *_voxel_tables(result)]


def _finding_tables(result: Evaluation) -> list[Table]:
    """Return the findings of all maps at the default rate, and those of one map at all rates."""
    known = {name: of for name, of in result.record.findings.items() if isinstance(of, FindingTable)}
    headline = _headline_table(result, known)
    if not known:
        return [headline]
    name = SHOWN_MAP if SHOWN_MAP in known else next(iter(known))
    return [headline, _rates_table(name, known[name])]


def _headline_table(result: Evaluation, known: Mapping[str, FindingTable]) -> Table:
    rate = next((of.headline for of in known.values()), None)
    title = "Findings" if rate is None else f"Findings, at {rate:g} false ones expected per healthy scan"
    columns = ("patients found", "lesions", "false per patient", "per healthy scan", "lesion is first", "Dice")
    table = _table(f"{title} {BRACKETS}", columns, _without_findings(result))
    for name, of in known.items():
        point = next((point for point in of.points if point.rate == of.headline), None)
        table.add_row(name, *(_finding_cells(point) if point else "-" * len(columns)))
    return table


def _without_findings(result: Evaluation) -> str | None:
    """Return which of the maps have no findings, and why."""
    names: dict[str, list[str]] = {}
    for name, of in result.record.findings.items():
        if isinstance(of, Missing) and name in result.record.pixel:
            names.setdefault(of.reason, []).append(name)
    return "\n".join(f"No findings of {', '.join(of)}: {reason}" for reason, of in names.items()) or None


def _finding_cells(point: FindingPoint) -> tuple[str, ...]:
    return (
        _share(point.patients_found),
        f"{sum(point.lesions_found.values())}/{sum(point.lesions.values())}",
        _interval(point.false_per_patient, digits=2),
        _interval(point.healthy_findings, digits=2),
        _share(point.strongest_is_lesion),
        _interval(point.dice, digits=2),
    )


def _rates_table(name: str, of: FindingTable) -> Table:
    """Return what one map finds at each rate, lesions by size."""
    title = f"Findings of {name} by the number of false ones expected per healthy scan: patients and lesions found"
    columns = ("patients", *CLASS_NAMES, "false per patient", "per healthy scan", "with any")
    table = _table(title, columns, first="expected")
    for point in of.points:
        sizes = (f"{point.lesions_found[size]}/{point.lesions[size]}" for size in CLASS_NAMES)
        false, healthy = (_mean(of) for of in (point.false_per_patient, point.healthy_findings))
        patients, with_any = (_mean(of, ".0%") for of in (point.patients_found, point.healthy_with_any))
        table.add_row(f"{point.rate:g}", patients, *sizes, false, healthy, with_any)
    return table


def _voxel_tables(result: Evaluation) -> list[Table]:
    """Return three tables, baselines first: ranking, masks, and all voxels pooled."""
    ranked = _table(f"In-brain voxels, mean over subjects {BRACKETS}", RANKED, _beaten(result))
    masks = _table("Masks of a threshold: Dice, and unannotated voxels flagged", THRESHOLDED)
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


def _table(title: str, columns: Iterable[str], caption: str | None = None, *, first: str = "map") -> Table:
    from rich import box
    from rich.table import Table

    table = Table(title=title, caption=caption, box=box.SIMPLE, title_justify="left", caption_justify="left")
    table.add_column(first, no_wrap=True)
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


def _number(value: object, digits: int = 3) -> str:
    return f"{value:.{digits}f}" if isinstance(value, float) else "-"


def _mean(values: Interval | Missing, form: str = ".2f") -> str:
    return "-" if isinstance(values, Missing) or values.mean is None else f"{values.mean:{form}}"


def _share(values: Interval) -> str:
    """Return a share in percent, with its interval."""
    if values.mean is None:
        return "-"
    if values.low is None or values.high is None:
        return f"{values.mean:.0%}"
    return f"{values.mean:.0%} [{100 * values.low:.0f}, {100 * values.high:.0f}]"


def _interval(values: Interval | Missing | None, digits: int = 3) -> str:
    if values is None or isinstance(values, Missing) or values.mean is None:
        return "-"
    mean, low, high = (_number(value, digits) for value in (values.mean, values.low, values.high))
    return mean if values.low is None else f"{mean} [{low}, {high}]"
