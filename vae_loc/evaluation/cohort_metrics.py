"""Annotated scans -> tables: what a reviewer would ask for. Definitions: `docs/metrics.md`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from vae_loc.errors import UnusableInput
from vae_loc.evaluation.baselines import BASELINES
from vae_loc.evaluation.healthy_rates import healthy_reliability
from vae_loc.evaluation.lesions import CLASS_NAMES
from vae_loc.evaluation.metrics import (
    Interval,
    binned,
    curve,
    mean_interval,
    pooled_intervals,
    quantile_edges,
    rank,
    rank_sorted,
)
from vae_loc.evaluation.scan_metrics import FROC_FPRS, PAPER, LesionRow, MapRow, Measured, SliceRow, measure
from vae_loc.evaluation.score_store import ScoreStore
from vae_loc.model.checkpoint import Checkpoint
from vae_loc.model.network import build_model
from vae_loc.scans.annotations import LabelledCase
from vae_loc.scans.cases import Case
from vae_loc.system.progress import BarMaker
from vae_loc.vocabulary import METHODS, BrainMask

BINS = 2048  # of the pooled curves and their intervals
CURVE_POINTS = 200  # of a curve that is kept
PER_SUBJECT = ("auroc", "average_precision", "oracle_dice", "dice_calibrated")
SLICE_SCORES = ("rec", "kl", "elbo", "brain area")
NO_HEALTHY = "no healthy scans were given (--healthy)"


class MapFigures(TypedDict, total=False):
    """The figures of one map: per subject, pooled, and pooled under the paper's protocol."""

    per_subject: dict[str, Interval]
    pooled: dict[str, object]
    paper_protocol: dict[str, object]


@dataclass
class Evaluation:
    """All figures of a cohort.

    Attributes
    ----------
    summary : what `evaluation.json` holds
    measured : the figures of each scan
    curves : pooled rates of each map, `CURVE_POINTS` long
    failed : scans that could not be used
    """

    summary: dict[str, object] = field(default_factory=dict)
    measured: list[Measured] = field(default_factory=list)
    curves: dict[str, dict[str, NDArray[np.float64]]] = field(default_factory=dict)
    failed: list[UnusableInput] = field(default_factory=list)


def evaluate(
    pairs: Sequence[LabelledCase],
    checkpoint: Checkpoint,
    *,
    maps: Path | None = None,
    healthy: Sequence[Case] = (),
    brain_mask: BrainMask | None = None,
    device: str = "cpu",
    seed: int = 0,
    bars: BarMaker,
) -> Evaluation:
    """Compare the maps of annotated scans with their annotations.

    Parameters
    ----------
    maps : a folder of maps already written; None scores the scans
    healthy : healthy scans that the model never saw, for the calibration of its thresholds
    brain_mask : None takes the mask beside each scan where there is one, else `auto`

    Raises
    ------
    UnusableInput : if no scan can be used; a single unusable one is noted in `failed`.
    UnusableModel : if the maps were made by another model.

    Holds one scan at a time; scores wait sorted in a temporary file (`ScoreStore`).
    """
    network = build_model(checkpoint, device) if maps is None else None
    result = Evaluation()
    with ScoreStore() as spool:
        advance = bars("measuring", len(pairs))
        for pair in pairs:
            how = brain_mask or pair.case.brain_mask or "auto"
            try:
                result.measured.append(measure(pair, checkpoint, network, spool, maps=maps, how=how))
            except UnusableInput as error:
                result.failed.append(error)
            advance(pair.case.scan.name)
        if not result.measured:
            raise result.failed[0]
        pixel = _pixel(result, spool, seed, bars)
    advance = bars("healthy", len(healthy))
    reliability: object = {"value": None, "reason": NO_HEALTHY}
    if healthy:
        reliability = healthy_reliability(
            healthy, checkpoint, brain_mask=brain_mask, device=device, seed=seed, progress=advance
        )
    result.summary = {
        "model": {"sha256": checkpoint.digest, "contrast": checkpoint.facts.contrast},
        "scans": [measured.facts for measured in result.measured],
        "failed": [str(error) for error in result.failed],
        "pixel": pixel,
        "baselines_that_beat_the_model": beaten_by(pixel),
        "slices": _slices([row for m in result.measured for row in m.slices], seed),
        "lesions": _lesions([row for m in result.measured for row in m.lesions], len(result.measured)),
        "healthy_calibration": reliability,
        "seed": seed,
        "interval": "95 %, bootstrap over subjects, 2000 resamples",
    }
    return result


def beaten_by(pixel: dict[str, MapFigures]) -> dict[str, list[str]]:
    """Return, for AUROC and average precision, the baselines whose mean is not below the best map's."""
    found = {}
    for figure in ("auroc", "average_precision"):
        means = {name: entry["per_subject"][figure]["mean"] for name, entry in pixel.items() if "per_subject" in entry}
        best = max((mean for name in METHODS if (mean := means.get(name)) is not None), default=None)
        found[figure] = [
            name for name in BASELINES if best is not None and (mean := means.get(name)) is not None and mean >= best
        ]
    return found


def _pixel(result: Evaluation, spool: ScoreStore, seed: int, bars: BarMaker) -> dict[str, MapFigures]:
    names = sorted({row.map for m in result.measured for row in m.rows}, key=(*BASELINES, *METHODS).index)
    advance = bars("ranking", len(names))
    table: dict[str, MapFigures] = {}
    for name in names:
        rows = [row for m in result.measured for row in m.rows if row.map == name]
        per_subject = {
            figure: mean_interval(_by_subject(rows, [getattr(row, figure) for row in rows]), seed=seed)
            for figure in PER_SUBJECT
        }
        for kind in ("dice_fpr", "flagged_fpr"):
            for fpr in getattr(rows[0], kind):
                values = [getattr(row, kind)[fpr] for row in rows]
                per_subject[f"{kind} {fpr}"] = mean_interval(_by_subject(rows, values), seed=seed)
        pooled, result.curves[name] = _pooled(spool, name, seed)
        paper, _ = _pooled(spool, f"{name}{PAPER}", seed)
        table[name] = {"per_subject": per_subject, "pooled": pooled, "paper_protocol": paper}
        advance(name)
    table["constant inside the brain"] = {"paper_protocol": _pooled(spool, f"constant{PAPER}", seed)[0]}
    return table


def _by_subject(rows: Sequence[MapRow], values: Sequence[float | None]) -> list[float | None]:
    """Average the scans of one subject, so that a subject counts once."""
    of: dict[str, list[float]] = {}
    for row, value in zip(rows, values, strict=True):
        known = of.setdefault(row.subject, [])
        if value is not None:
            known.append(value)
    return [float(np.mean(known)) if known else None for known in of.values()]


def _pooled(spool: ScoreStore, name: str, seed: int) -> tuple[dict[str, object], dict[str, NDArray[np.float64]]]:
    """Rank all subjects together; intervals and curve from `BINS` bins."""
    positives, negatives = spool.parts(name)
    ranking = rank_sorted(positives, negatives)
    edges = quantile_edges(positives, negatives, BINS)
    counts = binned(positives, edges), binned(negatives, edges)
    intervals = pooled_intervals(*counts, seed=seed)
    figures: dict[str, object] = {
        "auroc": ranking.auroc,
        "average_precision": ranking.average_precision,
        "oracle_dice": ranking.best_dice,
        "positives": ranking.positives,
        "negatives": ranking.negatives,
        "intervals": intervals,
    }
    rates = curve(counts[0].sum(axis=0), counts[1].sum(axis=0))
    threshold = np.append(edges[::-1].astype(np.float64), edges[0])
    keep = np.unique(np.linspace(0, len(threshold) - 1, CURVE_POINTS).astype(int))
    return figures, {key: values[keep] for key, values in (rates | {"threshold": threshold}).items()}


def _slices(rows: Sequence[SliceRow], seed: int) -> dict[str, object]:
    diseased = np.array([row.diseased for row in rows], dtype=bool)
    table: dict[str, object] = {"diseased": int(diseased.sum()), "healthy": int((~diseased).sum())}
    for name in SLICE_SCORES:
        values = [row.scores[name] for row in rows]
        if not rows or any(value is None for value in values):
            table[name] = {"auroc": None, "reason": "the maps came without the scores of their slices"}
            continue
        scores = np.array(values, dtype=np.float64)
        subjects = sorted({row.subject for row in rows})
        owner = np.array([subjects.index(row.subject) for row in rows])
        sides = [[np.sort(scores[(owner == i) & side]) for i in range(len(subjects))] for side in (diseased, ~diseased)]
        edges = np.unique(scores)
        interval = pooled_intervals(binned(sides[0], edges), binned(sides[1], edges), seed=seed)["auroc"]
        table[name] = {"auroc": rank(diseased, scores).auroc, "interval": interval}
    return table


def _lesions(rows: Sequence[LesionRow], scans: int) -> dict[str, object]:
    """Return sensitivity, by size class, against false positives a scan at every healthy rate (FROC)."""
    table: dict[str, object] = {}
    for name in METHODS:
        points = []
        for fpr in FROC_FPRS:
            some = [row for row in rows if row.map == name and row.fpr == fpr]
            if not some:
                continue
            lesions = {size: sum(row.lesions[size] for row in some) for size in CLASS_NAMES}
            found = {size: sum(row.found[size] for row in some) for size in CLASS_NAMES}
            total = sum(lesions.values())
            points.append(
                {
                    "healthy_fpr": fpr,
                    "false_positives_a_scan": sum(row.false_positives for row in some) / scans,
                    "sensitivity": sum(found.values()) / total if total else None,
                    "found": found,
                    "lesions": lesions,
                }
            )
        table[name] = points or {"value": None, "reason": "no such map, or the model has no healthy thresholds"}
    return table


def records(result: Evaluation) -> list[dict[str, object]]:
    """Return one flat record a scan and map, for `evaluation.csv`."""
    flat = []
    for measured in result.measured:
        for row in measured.rows:
            record = asdict(row)
            for kind in ("dice_fpr", "flagged_fpr"):
                record |= {f"{kind} {fpr}": value for fpr, value in record.pop(kind).items()}
            flat.append(record)
    return flat
