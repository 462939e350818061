"""An evaluation or a calibration as tables on screen."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from vae_loc.evaluation.cohort_metrics import Evaluation
from vae_loc.evaluation.lesions import CLASS_NAMES
from vae_loc.evaluation.record import FindingTable, Interval, Missing
from vae_loc.training.calibrate import MapDice
from vae_loc.vocabulary import EVALUATED

if TYPE_CHECKING:
    from rich.table import Table

RANKED = {"AUROC": "auroc", "AP": "average_precision", "oracle Dice": "oracle_dice"}
THRESHOLDED = {"Dice calibrated": "dice_calibrated", "Dice at 5 %": "dice_fpr 5%", "flagged at 5 %": "flagged_fpr 5%"}
BRACKETS = "[95 % bootstrap over subjects]"
SHOWN_MAP = "combi"  # at all rates; the default of `score` and `segment`
POOLED = ("AUROC", "AP", "AUROC, paper's")  # the last counts the background


def evaluation_tables(result: Evaluation) -> list[Table]:
    """Return the tables of findings, all maps at the default rate and one at all rates, then those of voxels."""
    known = {name: of for name, of in result.record.findings.items() if isinstance(of, FindingTable)}
    shown = SHOWN_MAP if SHOWN_MAP in known else next(iter(known), None)
    rates = [] if shown is None else [_rates_table(shown, known[shown])]
    return [_headline_table(result, known), *rates, *_voxel_tables(result)]


def _headline_table(result: Evaluation, known: Mapping[str, FindingTable]) -> Table:
    rate = next((of.headline for of in known.values()), None)
    title = "Findings" if rate is None else f"Findings, at {rate:g} false ones expected per healthy scan"
    columns = ("patients found", "lesions", "false per patient", "per healthy scan", "lesion is first", "Dice")
    missing = {name: of.reason for name, of in result.record.findings.items() if isinstance(of, Missing)}
    caption = f"No findings of {', '.join(missing)}: {next(iter(missing.values()))}" if missing else None
    table = _table(f"{title} {BRACKETS}", columns, caption)
    for name, of in known.items():
        (point,) = (point for point in of.points if point.rate == of.headline)
        found = f"{sum(point.lesions_found.values())}/{sum(point.lesions.values())}"
        false, healthy, dice = (
            _interval(figure, ".2f") for figure in (point.false_per_patient, point.healthy_findings, point.dice)
        )
        patients, first = (_interval(figure, ".0%") for figure in (point.patients_found, point.strongest_is_lesion))
        table.add_row(name, patients, found, false, healthy, first, dice)
    return table


def _rates_table(name: str, of: FindingTable) -> Table:
    """Return the figures of one map at each rate, lesions by size."""
    title = f"Findings of {name} by the number of false ones expected per healthy scan: patients and lesions found"
    columns = ("patients", *CLASS_NAMES, "false per patient", "per healthy scan", "with any")
    table = _table(title, columns, first="expected")
    for point in of.points:
        sizes = (f"{point.lesions_found[size]}/{point.lesions[size]}" for size in CLASS_NAMES)
        false, healthy = (_mean(of, ".2f") for of in (point.false_per_patient, point.healthy_findings))
        patients, with_any = (_mean(of, ".0%") for of in (point.patients_found, point.healthy_with_any))
        table.add_row(f"{point.rate:g}", patients, *sizes, false, healthy, with_any)
    return table


def _voxel_tables(result: Evaluation) -> list[Table]:
    """Return three tables, baselines first: ranking, masks, and all voxels pooled."""
    beaten = result.record.baselines_that_beat_the_model
    said = [f"{', '.join(names)} in {title}" for title, figure in RANKED.items() if (names := beaten.get(figure))]
    caption = f"NOT WORSE THAN THE BEST MAP: {'; '.join(said)}" if said else "No baseline reaches the best map."
    ranked = _table(f"In-brain voxels, mean over subjects {BRACKETS}", RANKED, caption)
    masks = _table("Masks of a threshold: Dice, and unannotated voxels flagged", THRESHOLDED)
    pooled = _table("All voxels pooled; the paper's way counts the background: trust neither alone", POOLED)
    for name, figures in result.record.pixel.items():
        style = None if name in EVALUATED else "dim"
        of = figures.per_subject or {}
        if of:
            ranked.add_row(name, *(_interval(of.get(figure)) for figure in RANKED.values()), style=style)
        if name in EVALUATED:
            masks.add_row(name, *(_interval(of.get(figure)) for figure in THRESHOLDED.values()))
        all_voxels = (figures.pooled.auroc, figures.pooled.average_precision) if figures.pooled else (None, None)
        pooled.add_row(name, *map(_mean, (*all_voxels, figures.paper_protocol.auroc)), style=style)
    return [ranked, masks, pooled]


def _table(title: str, columns: Iterable[str], caption: str | None = None, *, first: str = "map") -> Table:
    from rich import box
    from rich.table import Column, Table

    headers = [Column(first, no_wrap=True), *(Column(name, justify="right", no_wrap=True) for name in columns)]
    return Table(*headers, title=title, caption=caption, box=box.SIMPLE, title_justify="left", caption_justify="left")


def calibration_table(rows: Sequence[MapDice]) -> Table:
    """Return the threshold of every map, and its Dice on the other subjects."""
    columns = ("threshold", "Dice there", "on the others", "sd", "scans")
    table = _table("Threshold of maximal Dice on a fifth of the subjects; Dice on the others", columns)
    for row in rows:
        count = sum(dice is not None for dice in row.dice.values())
        dice = map(_mean, (row.calibration_dice, *row.mean_and_sd))
        table.add_row(row.method, f"{row.threshold:.4g}", *dice, str(count))
    return table


def _mean(value: Interval | Missing | float | None, form: str = ".3f") -> str:
    mean = value.mean if isinstance(value, Interval) else value
    return "-" if mean is None or isinstance(mean, Missing) else f"{mean:{form}}"


def _interval(values: Interval | Missing | None, form: str = ".3f") -> str:
    """Return a mean with its interval in brackets, where it has one."""
    mean = _mean(values, form)
    if not isinstance(values, Interval) or values.low is None or values.high is None:
        return mean
    low, high = (f"{value:{form}}".rstrip("%") for value in (values.low, values.high))
    return f"{mean} [{low}, {high}]"
