"""One annotated scan -> its figures, and its sorted scores in the store."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vae_loc.evaluation.baselines import baseline_maps
from vae_loc.evaluation.lesions import find_lesions
from vae_loc.evaluation.metrics import above, dice_at, rank_sorted
from vae_loc.evaluation.record import AnnotatedFacts, Missing
from vae_loc.evaluation.scan_findings import Findings, ScanFindings, findings_of, scan_findings
from vae_loc.evaluation.score_store import ScoreStore
from vae_loc.model.checkpoint import healthy_threshold
from vae_loc.model.network import Model
from vae_loc.preprocessing.canonical import CanonicalVolume, onto_grid
from vae_loc.preprocessing.open_scan import Scan, open_scan
from vae_loc.preprocessing.slices import substantial, to_slices
from vae_loc.scans.annotations import LabelledCase
from vae_loc.scans.volume import read_labels
from vae_loc.scoring.locate import SampleScores, locate
from vae_loc.vocabulary import METHODS, SAMPLE_SCORES, BoolArray, BrainMask, FloatArray, Method

FPRS = (0.01, 0.05, 0.10)  # healthy false-positive rates whose thresholds are judged
MIN_LESION_PIXELS = 20  # of a diseased slice of 64x64; fewer, but not none: the slice is left out
LESION_COVERAGE = 0.5  # of a canonical pixel from which on it is annotated
ANY_COVERAGE = 1e-3  # below it a pixel holds no lesion
PAPER = "@paper"  # suffix of a map's scores under the paper's protocol


@dataclass(frozen=True)
class MapRow:
    """The figures of one map on one scan, inside the brain; None is undefined, `undefined` says why."""

    subject: str
    scan: str
    map: str
    auroc: float | None
    average_precision: float | None
    oracle_dice: float | None
    dice_calibrated: float | None
    dice_fpr: dict[str, float | None]
    flagged_fpr: dict[str, float | None]
    undefined: str


@dataclass(frozen=True)
class SliceRow:
    """One slice that is healthy or diseased for certain, with its scores."""

    subject: str
    diseased: bool
    scores: dict[str, float]


@dataclass(frozen=True)
class Measured:
    """All figures of one scan."""

    rows: list[MapRow]
    slices: list[SliceRow]
    findings: dict[Method, ScanFindings | Missing]
    facts: AnnotatedFacts
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class AnnotatedScan:
    """A scan with its annotation and its maps.

    Attributes
    ----------
    truth : bool (I, J, K) on the scan's own grid, the annotated voxels
    maps : float32 (I, J, K) each
    findings : those of each map, or why there are none
    """

    pair: LabelledCase
    scan: Scan
    truth: BoolArray
    canonical: CanonicalVolume
    maps: dict[Method, FloatArray]
    findings: dict[Method, Findings | Missing]
    samples: SampleScores
    warnings: tuple[str, ...]


def annotated_scan(pair: LabelledCase, model: Model, *, brain_mask: BrainMask | None = None) -> AnnotatedScan:
    """Return a scan with its annotation and its scores.

    Raises
    ------
    UnusableInput : if scan or annotation cannot be used.
    """
    scan = open_scan(pair.case, brain_mask=brain_mask)
    truth, notes = read_labels(pair.label, scan.volume)
    located = locate(scan, model, methods=METHODS)
    warnings = notes + scan.volume.warnings + located.canonical.warnings
    findings = findings_of(located, model)
    return AnnotatedScan(pair, scan, truth, located.canonical, located.maps, findings, located.scores, warnings)


def measure(scan: AnnotatedScan, model: Model, store: ScoreStore) -> Measured:
    """Compare the maps and baselines of a scan with its annotation; the scores of its voxels go into the store."""
    volume, brain = scan.scan.volume, scan.scan.brain
    scores: dict[str, FloatArray] = {str(method): values for method, values in scan.maps.items()}
    scores |= baseline_maps(volume, brain, scan.canonical, model.reference, contrast=model.facts.contrast)
    covered = _coverage(scan) >= LESION_COVERAGE
    rows = [_row(scan, name, values, covered, model, store) for name, values in scores.items()]
    store.add(f"constant{PAPER}", covered.ravel(), scan.canonical.mask.astype(np.float32).ravel())
    lesions = find_lesions(scan.truth, brain, volume.voxel_mm3)
    to_ml = volume.voxel_mm3 / 1000
    facts = AnnotatedFacts(
        subject=scan.pair.case.subject,
        scan=str(scan.pair.case.scan),
        label=str(scan.pair.label),
        brain_ml=scan.scan.brain_ml,
        lesion_ml=float(scan.truth.sum() * to_ml),
        lesion_outside_brain_ml=float((scan.truth & ~brain).sum() * to_ml),
        lesions=len(lesions.sizes),
        specks=lesions.specks,
    )
    findings = {
        method: of if isinstance(of, Missing) else scan_findings(of, scan.truth, brain, lesions, facts.subject)
        for method, of in scan.findings.items()
    }
    return Measured(rows, _slice_rows(scan), findings, facts, scan.warnings)


def _coverage(scan: AnnotatedScan) -> FloatArray:
    """Return the share of each canonical pixel that is annotated, float32 (I, I, I)."""
    everywhere = np.ones_like(scan.truth)
    return onto_grid(scan.truth.astype(np.float32), scan.scan.volume, everywhere, scan.canonical.grid)


def _row(
    scan: AnnotatedScan, name: str, values: FloatArray, covered: BoolArray, model: Model, store: ScoreStore
) -> MapRow:
    """Return the figures of one map or baseline; its scores go into the store."""
    case, volume, brain = scan.pair.case, scan.scan.volume, scan.scan.brain
    lesion, other = store.add(name, scan.truth[brain], values[brain])
    lowest = min(0.0, float(values[brain].min()))  # the background, 0, must stay below the brain
    small = onto_grid(values - lowest, volume, brain, scan.canonical.grid)
    store.add(f"{name}{PAPER}", covered.ravel(), small.ravel())
    ranking = rank_sorted([lesion], [other])
    thresholds = {f"{fpr:.0%}": _threshold(model, name, fpr) for fpr in FPRS}
    calibrated = model.facts.labelled.thresholds.get(name) if model.facts.labelled else None
    return MapRow(
        subject=case.subject,
        scan=str(case.scan),
        map=name,
        auroc=ranking.auroc,
        average_precision=ranking.average_precision,
        oracle_dice=ranking.best_dice,
        dice_calibrated=None if calibrated is None else dice_at(lesion, other, calibrated),
        dice_fpr={fpr: None if t is None else dice_at(lesion, other, t) for fpr, t in thresholds.items()},
        flagged_fpr={
            fpr: None if t is None or not len(other) else above(other, t) / len(other) for fpr, t in thresholds.items()
        },
        undefined="" if len(lesion) else "no annotated voxel inside the brain",
    )


def _threshold(model: Model, name: str, fpr: float) -> float | None:
    """Return the healthy threshold of a map; None for a baseline, or without healthy statistics."""
    method = next((method for method in METHODS if method == name), None)
    if method is None or model.facts.healthy is None:
        return None
    return healthy_threshold(model.checkpoint, method, fpr)


def _slice_rows(scan: AnnotatedScan) -> list[SliceRow]:
    """Return the slices that are healthy or diseased for certain, with their scores."""
    stack = to_slices(scan.canonical)
    covered = _coverage(scan)[:, :, stack.indices]
    diseased = (covered >= LESION_COVERAGE).sum(axis=(0, 1)) >= MIN_LESION_PIXELS * (covered.shape[0] / 64) ** 2
    healthy = covered.max(axis=(0, 1)) < ANY_COVERAGE
    area = stack.mask.sum(axis=(1, 2))
    rows = []
    for index in np.flatnonzero((diseased | healthy) & substantial(stack)):
        scores = {"brain area": float(area[index])}
        scores |= {name: float(scan.samples.slices[name][index]) for name in SAMPLE_SCORES}
        rows.append(SliceRow(scan.pair.case.subject, bool(diseased[index]), scores))
    return rows
