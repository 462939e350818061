"""One annotated scan -> its figures, and its sorted scores in the store."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vae_loc.evaluation.lesions import ScanFindings, find_lesions, findings_of, scan_findings
from vae_loc.evaluation.metrics import above, dice_at, rank_sorted
from vae_loc.evaluation.record import AnnotatedFacts
from vae_loc.model.checkpoint import healthy_threshold
from vae_loc.model.network import Model
from vae_loc.preprocessing.canonical import CanonicalVolume, all_from_canonical, onto_grid
from vae_loc.preprocessing.open_scan import open_scan
from vae_loc.preprocessing.slices import substantial, to_slices
from vae_loc.scans.annotations import LabelledCase
from vae_loc.scans.cases import Case
from vae_loc.scans.volume import Volume, read_labels
from vae_loc.scoring.locate import Located, locate
from vae_loc.scoring.normalised_maps import intensity_features, normalised_maps, with_polarity
from vae_loc.scoring.score_options import ScoreOptions
from vae_loc.system.array_store import ArrayStore
from vae_loc.vocabulary import EVALUATED, PLACE_Z, SAMPLE_SCORES, BoolArray, BrainMask, FloatArray, Method, Polarity

FPRS = {"fpr 1%": 0.01, "fpr 5%": 0.05, "fpr 10%": 0.1}  # healthy rates whose thresholds are judged
MIN_LESION_PIXELS = 20  # of a diseased slice of 64x64; fewer, but not none: the slice is left out
LESION_COVERAGE = 0.5  # of a canonical pixel from which on it is annotated
ANY_COVERAGE = 1e-3  # below it a pixel holds no lesion
BASELINES = ("intensity", "negative-intensity", "place-z", "place-z-bright", "place-z-dark")
OF_PLACE_Z: dict[str, Polarity] = {"place-z": "any", "place-z-bright": "bright", "place-z-dark": "dark"}
PAPER = "@paper"  # suffix of a map's scores under the paper's protocol
Sides = tuple[list[FloatArray], list[FloatArray]]  # lesion voxels and other voxels, one part for each scan


class ScoreStore:
    """The sorted scores of each map, scan by scan, memory-mapped: 4 bytes in TMPDIR for each brain voxel and map."""

    def __init__(self, arrays: ArrayStore) -> None:
        self._arrays = arrays
        self._parts: dict[str, Sides] = {}

    def add(self, name: str, labels: BoolArray, scores: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Store one scan's scores (N,) of a map; return those of lesion and of other voxels, ascending."""
        lesion, other = (self._arrays.kept(np.sort(scores[of]).astype(np.float32)) for of in (labels, ~labels))
        for parts, side in zip(self.parts(name), (lesion, other), strict=True):
            parts.append(side)
        return lesion, other

    def parts(self, name: str) -> Sides:
        """Return the scores of lesion and of other voxels, float32 (N,) ascending, of each scan in turn."""
        return self._parts.setdefault(name, ([], []))


@dataclass(frozen=True)
class MapRow:
    """The figures, by name, of one map on one scan, inside the brain; None is undefined, `undefined` says why."""

    subject: str
    scan: str
    map: str
    figures: dict[str, float | None]
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
    findings: dict[Method, ScanFindings]
    facts: AnnotatedFacts
    warnings: tuple[str, ...]


def evaluated_maps(model: Model) -> tuple[Method, ...]:
    """Return the maps that a model is evaluated by: those of the paper, and that of its judge if it has one."""
    return EVALUATED if model.facts.healthy and {*EVALUATED} <= {*model.facts.healthy.maps} else EVALUATED[:-1]


def measure(pair: LabelledCase, model: Model, store: ScoreStore, *, brain_mask: BrainMask | None = None) -> Measured:
    """Score a scan, and compare maps, baselines and findings with its annotation; voxel scores go into the store.

    Raises
    ------
    UnusableInput : if scan or annotation cannot be used.
    """
    opened = open_scan(pair.case, brain_mask=brain_mask)
    volume, brain = opened.volume, opened.brain
    truth, notes = read_labels(pair.label, volume)
    located = locate(opened, model, ScoreOptions(methods=evaluated_maps(model), force=True))
    canonical = located.canonical
    # the annotation on the canonical grid, for the paper's protocol and for slices
    coverage = onto_grid(truth.astype(np.float32), volume, np.ones_like(truth), canonical.grid)
    # each map and baseline against the annotation
    scores: dict[str, FloatArray] = {str(method): values for method, values in located.maps.items()}
    scores |= baseline_maps(volume, brain, canonical, model.reference, contrast=model.facts.contrast)
    annotated = (coverage >= LESION_COVERAGE).ravel()
    rows = []
    for name, values in scores.items():
        lesion, other = store.add(name, truth[brain], values[brain])
        rows.append(_row(pair.case, name, lesion, other, model))
        # the paper's protocol: the canonical grid with its background, 0, which must stay below the brain
        small = onto_grid(values - min(0.0, float(values[brain].min())), volume, brain, canonical.grid)
        store.add(f"{name}{PAPER}", annotated, small.ravel())
    store.add(f"constant{PAPER}", annotated, canonical.mask.astype(np.float32).ravel())
    # findings against lesions
    lesions = find_lesions(truth, brain, volume.voxel_mm3)
    subject = pair.case.subject
    findings = {
        method: scan_findings(of, truth, brain, lesions, subject) for method, of in findings_of(located, model).items()
    }
    facts = AnnotatedFacts(
        subject=subject,
        scan=str(pair.case.scan),
        label=str(pair.label),
        brain_ml=opened.brain_ml,
        lesion_ml=float(truth.sum() * (volume.voxel_mm3 / 1000)),
        lesion_outside_brain_ml=float((truth & ~brain).sum() * (volume.voxel_mm3 / 1000)),
        lesions=len(lesions.sizes),
        specks=lesions.specks,
    )
    warnings = notes + volume.warnings + canonical.warnings
    return Measured(rows, slice_rows(subject, located, coverage), findings, facts, warnings)


def _row(case: Case, name: str, lesion: FloatArray, other: FloatArray, model: Model) -> MapRow:
    """Return the figures of one map or baseline, whose scores of lesion and of other voxels are (N,), ascending."""
    ranking = rank_sorted([lesion], [other])
    # a baseline has no healthy threshold, and neither has a model without healthy statistics
    method = next((method for method in evaluated_maps(model) if method == name and model.facts.healthy), None)
    thresholds = {"calibrated": model.facts.labelled.thresholds.get(name) if model.facts.labelled else None}
    for at, fpr in FPRS.items():
        thresholds[at] = None if method is None else healthy_threshold(model.checkpoint, method, fpr)
    figures = {"auroc": ranking.auroc, "average_precision": ranking.average_precision}
    figures["oracle_dice"] = ranking.best_dice
    for at, threshold in thresholds.items():
        figures[f"dice_{at}"] = None if threshold is None else dice_at(lesion, other, threshold)
    for at in FPRS:
        marked = None if (threshold := thresholds[at]) is None else above(other, threshold)
        figures[f"flagged_{at}"] = None if marked is None or not len(other) else marked / len(other)
    undefined = "" if len(lesion) else "no annotated voxel inside the brain"
    return MapRow(case.subject, str(case.scan), name, figures, undefined)


def baseline_maps(
    volume: Volume, brain: BoolArray, canonical: CanonicalVolume, reference: dict[str, FloatArray], *, contrast: str
) -> dict[str, FloatArray]:
    """Return the baselines of a scan, float32 (I, J, K) each: a map that does not beat them has learned nothing.

    intensity, negative-intensity : the scan, and its negative
    place-z : the map of `score --method place-z`: the intensity in place of the residual, smoothed, levelled and set
        against healthy brains at the same place, exactly as the maps are; `-bright` and `-dark` keep one sign. Only if
        `reference` has it
    """
    maps = {"intensity": volume.data, "negative-intensity": -volume.data}
    if "intensity.mean" in reference:
        features = intensity_features(canonical)
        z = normalised_maps(features, canonical.mask, reference, [PLACE_Z], contrast=contrast)[PLACE_Z]
        magnitudes = [np.abs(with_polarity(z, polarity)) for polarity in OF_PLACE_Z.values()]
        maps |= dict(zip(OF_PLACE_Z, all_from_canonical(magnitudes, canonical, volume.affine, brain), strict=True))
    return maps


def slice_rows(subject: str, located: Located, coverage: FloatArray) -> list[SliceRow]:
    """Return the slices that are healthy or diseased for certain, with their scores.

    Parameters
    ----------
    coverage : float32 (I, I, I), the annotated share of each canonical pixel
    """
    stack, samples = to_slices(located.canonical), located.scores.slices
    covered = coverage[:, :, stack.indices]
    diseased = (covered >= LESION_COVERAGE).sum(axis=(0, 1)) >= MIN_LESION_PIXELS * (covered.shape[0] / 64) ** 2
    healthy = covered.max(axis=(0, 1)) < ANY_COVERAGE
    area = stack.mask.sum(axis=(1, 2))
    rows = []
    for index in np.flatnonzero((diseased | healthy) & substantial(stack)):
        scores = {"brain area": float(area[index])} | {name: float(samples[name][index]) for name in SAMPLE_SCORES}
        rows.append(SliceRow(subject, bool(diseased[index]), scores))
    return rows
