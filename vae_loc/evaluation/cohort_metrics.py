"""Annotated scans -> the figures of a cohort. Definitions: `docs/reference/metrics.md`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vae_loc.errors import UnusableInput
from vae_loc.evaluation.cohort_findings import NO_HEALTHY, finding_tables, healthy_rates, measure_healthy
from vae_loc.evaluation.lesions import HEADLINE_RATE
from vae_loc.evaluation.metrics import (
    BINS,
    binned,
    curve,
    pooled_intervals,
    quantile_edges,
    rank,
    rank_sorted,
    subject_interval,
)
from vae_loc.evaluation.record import (
    EvaluatedModel,
    EvaluationRecord,
    MapFigures,
    Missing,
    PooledFigures,
    SliceFigures,
    SliceTable,
)
from vae_loc.evaluation.scan_metrics import BASELINES, PAPER, Measured, ScoreStore, SliceRow, measure
from vae_loc.model.network import Model
from vae_loc.scans.annotations import LabelledCase
from vae_loc.scans.cases import Case
from vae_loc.system.array_store import ArrayStore
from vae_loc.system.progress import BarMaker
from vae_loc.system.versions import versions
from vae_loc.vocabulary import EVALUATED, BrainMask

Rates = dict[str, NDArray[np.float64]]  # of a curve, by name
CURVE_POINTS = 200  # of a curve that is kept
SLICE_SCORES = ("rec", "kl", "elbo", "brain area")
NO_SLICES = "no slice is healthy or diseased for certain"


@dataclass(frozen=True)
class Evaluation:
    """All figures of a cohort.

    Attributes
    ----------
    record : the content of `evaluation.json`
    measured : the figures of each scan
    curves : pooled rates of each map, `CURVE_POINTS` long
    failed : scans that could not be used
    """

    record: EvaluationRecord
    measured: list[Measured]
    curves: dict[str, Rates]
    failed: list[UnusableInput]


def evaluate(
    pairs: Sequence[LabelledCase],
    model: Model,
    *,
    healthy: Sequence[Case] = (),
    brain_mask: BrainMask | None = None,
    seed: int = 0,
    bars: BarMaker,
) -> Evaluation:
    """Compare the maps of annotated scans with their annotations.

    Parameters
    ----------
    healthy : healthy scans that the model never saw: their voxels above its thresholds, and their findings
    brain_mask : None takes the mask beside each scan where there is one, else `auto`

    Raises
    ------
    UnusableInput : if no scan can be used; a single unusable one is noted in `failed`.
    UnusableModel : if the model has no healthy statistics, and healthy scans are given.

    Holds one scan at a time; scores wait sorted in a temporary file (`ScoreStore`).
    """
    with ArrayStore() as arrays:
        store = ScoreStore(arrays)
        # each scan against its annotation
        measured: list[Measured] = []
        failed: list[UnusableInput] = []
        advance = bars("measuring", len(pairs))
        for pair in pairs:
            try:
                measured.append(measure(pair, model, store, brain_mask=brain_mask))
            except UnusableInput as error:
                failed.append(error)
            advance(pair.case.scan.name)
        if not measured:
            raise failed[0]
        # the voxels of all scans together
        pixel, curves = _pixel(measured, store, seed, bars)
    # healthy scans
    unseen = measure_healthy(healthy, model, brain_mask=brain_mask, progress=bars("healthy", len(healthy)))
    record = EvaluationRecord(
        model=EvaluatedModel(sha256=model.digest, contrast=model.facts.contrast),
        scans=[one.facts for one in measured],
        failed=[str(error) for error in failed],
        findings=finding_tables([one.findings for one in measured], unseen, seed=seed),
        pixel=pixel,
        baselines_that_beat_the_model=beaten_by(pixel),
        slices=slice_table([row for one in measured for row in one.slices], seed),
        healthy_calibration=healthy_rates(unseen, seed=seed) if unseen else Missing(reason=NO_HEALTHY),
        seed=seed,
        versions=versions(),
    )
    return Evaluation(record, measured, curves, failed)


def beaten_by(pixel: dict[str, MapFigures]) -> dict[str, list[str]]:
    """Return, for AUROC and average precision, the baselines whose mean is not below the best map's."""
    beaten: dict[str, list[str]] = {}
    for figure in ("auroc", "average_precision"):
        intervals = {name: of.per_subject[figure] for name, of in pixel.items() if of.per_subject}
        means = {name: of.mean for name, of in intervals.items() if of.mean is not None}
        best = max((means[name] for name in EVALUATED if name in means), default=np.inf)
        beaten[figure] = [name for name in BASELINES if name in means and means[name] >= best]
    return beaten


def _pixel(
    measured: Sequence[Measured], store: ScoreStore, seed: int, bars: BarMaker
) -> tuple[dict[str, MapFigures], dict[str, Rates]]:
    """Return the figures and the pooled curves of each map and baseline."""
    names = sorted({row.map for one in measured for row in one.rows}, key=(*BASELINES, *EVALUATED).index)
    advance = bars("ranking", len(names))
    table: dict[str, MapFigures] = {}
    curves: dict[str, Rates] = {}
    for name in names:
        rows = [row for one in measured for row in one.rows if row.map == name]
        subjects = [row.subject for row in rows]
        per_subject = {
            of: subject_interval(subjects, [row.figures[of] for row in rows], seed=seed) for of in rows[0].figures
        }
        pooled, curves[name] = _pooled(store, name, seed)
        paper, _ = _pooled(store, f"{name}{PAPER}", seed)
        table[name] = MapFigures(per_subject=per_subject, pooled=pooled, paper_protocol=paper)
        advance(name)
    table["constant inside the brain"] = MapFigures(paper_protocol=_pooled(store, f"constant{PAPER}", seed)[0])
    return table, curves


def _pooled(store: ScoreStore, name: str, seed: int) -> tuple[PooledFigures, Rates]:
    """Rank all subjects together; intervals and curve from `BINS` bins."""
    positives, negatives = store.parts(name)
    ranking = rank_sorted(positives, negatives)
    edges = quantile_edges(positives, negatives, BINS)
    counts = binned(positives, edges), binned(negatives, edges)
    figures = PooledFigures(
        auroc=ranking.auroc,
        average_precision=ranking.average_precision,
        oracle_dice=ranking.best_dice,
        positives=ranking.positives,
        negatives=ranking.negatives,
        intervals=pooled_intervals(*counts, seed=seed),
    )
    rates = curve(counts[0].sum(axis=0), counts[1].sum(axis=0))
    threshold = np.append(edges[::-1].astype(np.float64), edges[0])
    keep = np.unique(np.linspace(0, len(threshold) - 1, CURVE_POINTS).astype(int))
    return figures, {key: values[keep] for key, values in (rates | {"threshold": threshold}).items()}


def slice_table(rows: Sequence[SliceRow], seed: int) -> SliceTable:
    """Return the AUROC of each score of slices, diseased against healthy."""
    diseased = np.array([row.diseased for row in rows], dtype=bool)
    owner = np.array([row.subject for row in rows])
    figures = dict.fromkeys(SLICE_SCORES, SliceFigures(auroc=None, reason=NO_SLICES))
    for name in SLICE_SCORES if rows else ():
        scores = np.array([row.scores[name] for row in rows])
        edges = np.unique(scores)
        # the counts of each subject on both sides, for intervals over subjects
        positives, negatives = (
            binned([np.sort(scores[(owner == of) & side]) for of in np.unique(owner)], edges)
            for side in (diseased, ~diseased)
        )
        interval = pooled_intervals(positives, negatives, seed=seed)["auroc"]
        figures[name] = SliceFigures(auroc=rank(diseased, scores).auroc, interval=interval)
    return SliceTable(diseased=int(diseased.sum()), healthy=int((~diseased).sum()), scores=figures)


def records(result: Evaluation) -> list[dict[str, object]]:
    """Return one flat record for each scan and map, for `evaluation.csv`."""
    flat = []
    for measured in result.measured:
        for row in measured.rows:
            record: dict[str, object] = {"subject": row.subject, "scan": row.scan, "map": row.map, **row.figures}
            record["undefined"] = row.undefined
            # the map's findings against the lesions, at the default rate of `segment`
            of = next((findings for method, findings in measured.findings.items() if method == row.map), None)
            figures = of.rates[HEADLINE_RATE] if of else None
            record["lesions"] = measured.facts.lesions
            record[f"lesions_found {HEADLINE_RATE:g}"] = sum(figures.found.values()) if figures else None
            record[f"false_findings {HEADLINE_RATE:g}"] = figures.false if figures else None
            record[f"dice_findings {HEADLINE_RATE:g}"] = figures.dice if figures else None
            record["lesion_rank"] = of.rank if of else None
            flat.append(record)
    return flat
