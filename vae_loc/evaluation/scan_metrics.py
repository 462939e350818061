"""One annotated scan -> its figures, and its sorted scores in the spool."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vae_loc.errors import UnusableInput, UnusableModel
from vae_loc.evaluation.baselines import baseline_maps
from vae_loc.evaluation.lesions import CLASS_NAMES, Lesions, find_lesions, match_lesions, size_classes
from vae_loc.evaluation.metrics import above, dice_at, rank_sorted
from vae_loc.evaluation.score_store import ScoreStore
from vae_loc.model.checkpoint import Checkpoint, healthy_threshold
from vae_loc.model.network import ScoreTerms
from vae_loc.preprocessing.brain_mask import find_brain
from vae_loc.preprocessing.canonical import CanonicalVolume, onto_grid
from vae_loc.preprocessing.slices import substantial, to_slices
from vae_loc.results.output_names import FolderNames
from vae_loc.scans.annotations import LabelledCase
from vae_loc.scans.volume import Volume, read_labels, read_volume
from vae_loc.scoring.locate import SampleScores, canonical_of, locate
from vae_loc.vocabulary import METHODS, SAMPLE_SCORES, BoolArray, BrainMask, FloatArray, Method

FPRS = (0.01, 0.05, 0.10)  # healthy false-positive rates whose thresholds are judged
FROC_FPRS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2)  # operating points of the FROC
MIN_SIZE_MM3 = 100.0  # as `segment` by default
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
    """One slice that is healthy or diseased for certain, with its scores; None where the maps came without."""

    subject: str
    diseased: bool
    scores: dict[str, float | None]


@dataclass(frozen=True)
class LesionRow:
    """How one map, at one healthy false-positive rate, met the lesions of one scan."""

    subject: str
    map: str
    fpr: float
    found: dict[str, int]
    lesions: dict[str, int]
    false_positives: int


@dataclass(frozen=True)
class Measured:
    """All figures of one scan."""

    rows: list[MapRow]
    slices: list[SliceRow]
    lesions: list[LesionRow]
    facts: dict[str, object]
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class AnnotatedScan:
    """A scan with its maps, scored now or read from disk."""

    volume: Volume
    brain: BoolArray
    canonical: CanonicalVolume
    maps: dict[Method, FloatArray]
    samples: SampleScores | None
    warnings: tuple[str, ...]


def measure(
    pair: LabelledCase,
    checkpoint: Checkpoint,
    network: ScoreTerms | None,
    spool: ScoreStore,
    *,
    maps: Path | None,
    how: BrainMask,
) -> Measured:
    """Score a scan (or read its maps from the folder `maps`) and compare it with its annotation.

    Raises
    ------
    UnusableInput : if scan, annotation or a map cannot be used.
    UnusableModel : if the maps were made by another model.
    """
    volume = read_volume(pair.case.scan)
    truth, notes = read_labels(pair.label, volume)
    scored = _located(volume, checkpoint, network, how) if network else _read(volume, checkpoint, maps or Path(), how)
    everything: dict[str, FloatArray] = {str(method): values for method, values in scored.maps.items()}
    everything |= baseline_maps(
        volume,
        scored.brain,
        scored.canonical,
        checkpoint.places,
    )
    annotated = _annotated(truth, scored)
    rows = [
        _row(pair, name, values, truth, scored, annotated, checkpoint, spool) for name, values in everything.items()
    ]
    spool.add(f"constant{PAPER}", annotated.ravel(), scored.canonical.mask.astype(np.float32).ravel())
    lesions = find_lesions(truth, scored.brain, volume.voxel_mm3)
    to_ml = volume.voxel_mm3 / 1000
    facts: dict[str, object] = {
        "subject": pair.case.subject,
        "scan": str(pair.case.scan),
        "label": str(pair.label),
        "brain_ml": float(scored.brain.sum() * to_ml),
        "lesion_ml": float(truth.sum() * to_ml),
        "lesion_outside_brain_ml": float((truth & ~scored.brain).sum() * to_ml),
        "lesions": len(lesions.sizes),
    }
    slices = _slice_rows(pair.case.subject, truth, scored)
    found = [
        row for name, values in scored.maps.items() for row in _lesion_rows(pair, name, values, lesions, checkpoint)
    ]
    return Measured(rows, slices, found, facts, notes + scored.warnings)


def _located(volume: Volume, checkpoint: Checkpoint, network: ScoreTerms, how: BrainMask) -> AnnotatedScan:
    found = locate(volume, checkpoint, network, brain_mask=how, methods=METHODS)
    return AnnotatedScan(volume, found.brain, found.canonical, found.maps, found.scores, found.warnings)


def _read(volume: Volume, checkpoint: Checkpoint, folder: Path, how: BrainMask) -> AnnotatedScan:
    """Read the maps and scores that `score` or `segment` wrote into a folder."""
    where = FolderNames(folder, None)
    brain, _ = find_brain(volume, how)
    canonical = canonical_of(volume, brain, checkpoint)
    maps: dict[Method, FloatArray] = {}
    for method in METHODS:
        path = where.path(volume.path, method, "anomaly.nii.gz")
        if not path.is_file():
            continue
        written = read_volume(path)
        if written.data.shape != volume.data.shape or not np.allclose(written.affine, volume.affine, atol=1e-3):
            raise UnusableInput(path, f"expected a map on the grid of {volume.path.name}; score the scan again")
        maps[method] = written.data
    if not maps:
        raise UnusableInput(folder, f"expected maps of {volume.path.name}, found none; run `vae-loc score` first")
    samples, note = _read_samples(where.scores(volume.path), checkpoint, canonical)
    return AnnotatedScan(volume, brain, canonical, maps, samples, (*volume.warnings, *note))


def _read_samples(
    path: Path, checkpoint: Checkpoint, canonical: CanonicalVolume
) -> tuple[SampleScores | None, tuple[str, ...]]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        made_by, rows = content["model"]["sha256"], content["slices"]
        slices = {name: np.array([row[name] for row in rows], dtype=np.float64) for name in SAMPLE_SCORES}
    except (OSError, ValueError, KeyError, TypeError):
        return None, (f"{path.name} is missing or unreadable: no figures for slices",)
    if made_by != checkpoint.digest:
        raise UnusableModel(made_by[:12], f"made these maps, not {checkpoint.digest[:12]}; give its file with -m")
    stack = to_slices(canonical)
    if len(rows) != len(stack.pixels):
        return None, (f"{path.name} has {len(rows)} slices, not {len(stack.pixels)}: no figures for slices",)
    return SampleScores(stack.positions_mm, substantial(stack), slices, {}), ()


def _annotated(truth: BoolArray, scored: AnnotatedScan) -> BoolArray:
    """Return the annotation on the canonical grid, where half a pixel is lesion."""
    everywhere = np.ones_like(truth)
    covered = onto_grid(truth.astype(np.float32), scored.volume, everywhere, scored.canonical.grid)
    return covered >= LESION_COVERAGE


def _row(
    pair: LabelledCase,
    name: str,
    values: FloatArray,
    truth: BoolArray,
    scored: AnnotatedScan,
    annotated: BoolArray,
    checkpoint: Checkpoint,
    spool: ScoreStore,
) -> MapRow:
    lesion, other = spool.add(name, truth[scored.brain], values[scored.brain])
    lowest = min(0.0, float(values[scored.brain].min()))  # the background, 0, must stay below the brain
    small = onto_grid(values - lowest, scored.volume, scored.brain, scored.canonical.grid)
    spool.add(f"{name}{PAPER}", annotated.ravel(), small.ravel())
    ranking = rank_sorted([lesion], [other])
    thresholds = {f"{fpr:.0%}": _threshold(checkpoint, name, fpr) for fpr in FPRS}
    calibrated = checkpoint.facts.labelled.thresholds.get(name) if checkpoint.facts.labelled else None
    return MapRow(
        subject=pair.case.subject,
        scan=str(pair.case.scan),
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


def _threshold(checkpoint: Checkpoint, name: str, fpr: float) -> float | None:
    if name not in METHODS or checkpoint.facts.healthy is None:
        return None
    return healthy_threshold(checkpoint, name, fpr)


def _slice_rows(subject: str, truth: BoolArray, scored: AnnotatedScan) -> list[SliceRow]:
    stack = to_slices(scored.canonical)
    everywhere = np.ones_like(truth)
    covered = onto_grid(truth.astype(np.float32), scored.volume, everywhere, scored.canonical.grid)[:, :, stack.indices]
    diseased = (covered >= LESION_COVERAGE).sum(axis=(0, 1)) >= MIN_LESION_PIXELS * (covered.shape[0] / 64) ** 2
    healthy = covered.max(axis=(0, 1)) < ANY_COVERAGE
    area = stack.mask.sum(axis=(1, 2))
    rows = []
    for index in np.flatnonzero((diseased | healthy) & substantial(stack)):
        scores: dict[str, float | None] = {"brain area": float(area[index])}
        for name in SAMPLE_SCORES:
            scores[name] = None if scored.samples is None else float(scored.samples.slices[name][index])
        rows.append(SliceRow(subject, bool(diseased[index]), scores))
    return rows


def _lesion_rows(
    pair: LabelledCase, name: str, values: FloatArray, lesions: Lesions, checkpoint: Checkpoint
) -> list[LesionRow]:
    classes = size_classes(lesions)
    rows = []
    for fpr in FROC_FPRS:
        threshold = _threshold(checkpoint, name, fpr)
        if threshold is None:
            continue
        match = match_lesions(values > threshold, lesions, min_size_mm3=MIN_SIZE_MM3)
        counts = {label: int((classes == i).sum()) for i, label in enumerate(CLASS_NAMES)}
        found = {label: int(match.found[classes == i].sum()) for i, label in enumerate(CLASS_NAMES)}
        rows.append(LesionRow(pair.case.subject, name, fpr, found, counts, match.false_positives))
    return rows
