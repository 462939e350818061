"""Healthy people and lesions transplanted into them, judged by statistics of others in five folds.

`findings`, `persons` and `ablation` measure with these.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.cohorts import cases_in
from benchmarks.transplants import KINDS, gliomas_of, lesions_in
from vae_loc.evaluation.lesions import VoxelCounts, reaches_share
from vae_loc.evaluation.metrics import rank_sorted
from vae_loc.model.network import Model
from vae_loc.preprocessing.canonical import CanonicalVolume, smooth_brain, to_canonical, with_fine
from vae_loc.preprocessing.open_scan import open_scan
from vae_loc.preprocessing.pseudo_contrast import appearance_of
from vae_loc.preprocessing.resampling import doubled_mask
from vae_loc.scans.cases import Case
from vae_loc.scoring.aligned_scan import canonical_of
from vae_loc.scoring.findings import (
    candidates_of,
    healthy_findings,
    strength_for,
    strengths_of,
)
from vae_loc.scoring.healthy_modes import count_for
from vae_loc.scoring.learned_map import Judge, likeness_of
from vae_loc.scoring.locate import score_canonical
from vae_loc.scoring.normalised_maps import Features, normalised_maps
from vae_loc.scoring.score_options import DEFAULT_FALSE_FINDINGS
from vae_loc.system.array_store import ArrayStore
from vae_loc.training.cross_fit import CrossFit, FoldedBrain, Statistics, folds_of
from vae_loc.training.training_record import read_record
from vae_loc.vocabulary import BoolArray, FloatArray, Method

METHODS: tuple[Method, ...] = ("combi", "rec-error")
Maps = dict[Method, FloatArray]


@dataclass(frozen=True)
class Healthy:
    """A healthy brain: its features, and on which scanner it was made."""

    case: Case
    scanner: str
    learned: bool
    canonical: CanonicalVolume
    features: Features


@dataclass(frozen=True)
class Sick:
    """A healthy brain with a lesion: whose it is, of what kind, and where the lesion is, at half the pixel."""

    host: Healthy
    kind: str
    canonical: CanonicalVolume
    truth: BoolArray


@dataclass(frozen=True)
class Diseased:
    """The features and the canonical intensities of a healthy brain with a lesion."""

    host: Healthy
    kind: str
    data: FloatArray
    features: Features
    truth: BoolArray


@dataclass(frozen=True)
class Met:
    """The findings of a map against a lesion."""

    found: bool
    first: bool
    false: int
    dice: float
    ap: float


def healthy_brains(model: Model, path: Path, shared: Path) -> Iterable[Healthy]:
    """Score IXI and ds002748, in the look of the model's contrast."""
    for brain in healthy_people(model, path, shared):
        kept = replace(brain.canonical, fine=None) if brain.learned else brain.canonical
        yield replace(brain, canonical=kept, features=features(brain.canonical, model))


def healthy_people(model: Model, path: Path, shared: Path) -> Iterable[Healthy]:
    """Align IXI and ds002748, in the look of the model's contrast; they have no features yet."""
    record = read_record(path.with_suffix(".training.json"))
    learned = set(record.training_subjects)
    synthesized = model.facts.training.synthesized_from is not None
    for scanner, folder in (("IXI", "ixi"), ("ds002748", "ds002748")):
        for case in cases_in(shared / folder, "t1"):
            scan, size = open_scan(case), model.facts.network.image_size
            if synthesized:
                brain = smooth_brain(scan.volume, scan.brain, image_size=size)
                real = with_fine(to_canonical(brain, template=model.reference["template"]), brain)
                canonical = appearance_of(case.subject, model.facts.contrast)(real)
            else:
                canonical = canonical_of(scan, model)
            yield Healthy(case, scanner, case.subject in learned, canonical, {})


def features(canonical: CanonicalVolume, model: Model) -> Features:
    """Return the features of the maps, at half the precision: there are many."""
    scores = score_canonical(canonical, model, METHODS)
    return {
        name: scores.features[name].astype(np.float16) for name in ("residual", "kl-magnitude", "intensity", "fine")
    }


def scored(one: Sick, model: Model) -> Diseased:
    """Score a brain with a lesion."""
    return Diseased(one.host, one.kind, one.canonical.data, features(one.canonical, model), one.truth)


def transplanted(model: Model, healthy: Sequence[Healthy], shared: Path) -> Iterable[Sick]:
    """Give each healthy brain that the network did not learn from a glioma, a hole and a spot, one at a time."""
    gliomas, rng = gliomas_of(model, shared), np.random.default_rng(0)
    for number, host in enumerate(brain for brain in healthy if not brain.learned):
        glioma = gliomas[number % len(gliomas)]
        for kind, sick, truth in lesions_in(host.canonical, glioma, model.facts.contrast, rng):
            yield Sick(host, kind, sick, truth)


@dataclass(frozen=True)
class Trial:
    """Healthy people and lesions, judged by statistics of some scanners that do not know them.

    maps, lesion_maps : signed, of the judged people and of each lesion
    model : whose judge makes the learned map, which then counts for Combi's strengths as in the package
    """

    scanners: str
    contrast: str
    folds: Folds
    judged: list[Healthy]
    maps: list[Maps]
    diseased: Sequence[Diseased]
    lesion_maps: list[Maps]
    model: Model | None = None

    def likeness(self, maps: Maps, method: Method) -> FloatArray | None:
        """Return the magnitudes of the learned map where they count for a map's strengths."""
        of = None if self.model is None else likeness_of(maps, method, self.model.facts)
        return None if of is None else of.astype(np.float32)

    def levels(self, method: Method, share: float) -> tuple[float, list[list[float]], Callable[[Healthy], float]]:
        """Return the extent that a share of healthy voxels exceeds, all strengths, and the level to judge a person by."""
        own = [
            np.abs(maps[method][doubled_mask(brain.canonical.mask)]).astype(np.float32)
            for brain, maps in zip(self.judged, self.maps, strict=True)
            if brain.scanner in self.scanners
        ]
        extent = float(np.quantile(np.concatenate(own), 1 - share))
        strengths = [
            strengths_of(maps[method].astype(np.float32), extent, self.likeness(maps, method)) for maps in self.maps
        ]

        def level(host: Healthy) -> float:
            fold = self.folds.of[host.case.subject]
            others = [
                of
                for brain, of in zip(self.judged, strengths, strict=True)
                if brain.scanner in self.scanners and self.folds.of[brain.case.subject] != fold
            ]
            return strength_for(healthy_findings(extent, others, None, prior_weight=0), DEFAULT_FALSE_FINDINGS)

        return extent, strengths, level

    def healthy_counts(self, method: Method, share: float) -> dict[str, list[float]]:
        """Return how many findings each judged person has, by scanner."""
        _, strengths, level = self.levels(method, share)
        counts: dict[str, list[float]] = {scanner: [] for scanner in ("IXI", "ds002748")}
        for brain, own in zip(self.judged, strengths, strict=True):
            least = level(brain)
            counts[brain.scanner].append(sum(strength > least for strength in own))
        return counts

    def met(self, method: Method, share: float) -> dict[str, list[Met]]:
        """Return how the findings of a map met the lesions of each kind."""
        extent, _, level = self.levels(method, share)
        rows: dict[str, list[Met]] = {kind: [] for kind in KINDS}
        for one, maps in zip(self.diseased, self.lesion_maps, strict=True):
            signed, likeness = maps[method].astype(np.float32), self.likeness(maps, method)
            rows[one.kind].append(met(signed, extent, level(one.host), one, likeness))
        return rows


def widened(of: Features) -> Features:
    """Return features as the package takes them."""
    return {name: values.astype(np.float32) for name, values in of.items()}


@dataclass(frozen=True)
class Folds:
    """Statistics of healthy people in five folds.

    of : the fold of each subject
    without : statistics of all folds but one
    everyone : the statistics of all healthy people, by which somebody else is judged
    """

    of: dict[str, int]
    without: dict[int, Statistics]
    everyone: Statistics

    def signed(
        self, features: Features, host: Healthy, methods: Sequence[Method], contrast: str, judge: Judge | None = None
    ) -> Maps:
        """Return the signed maps of a person, or of a lesion in that person, by statistics of the other folds."""
        of, mask = self.without[self.of[host.case.subject]], host.canonical.mask
        maps = normalised_maps(widened(features), mask, of.reference, methods, of.modes, contrast=contrast, judge=judge)
        return {method: values.astype(np.float16) for method, values in maps.items()}


def folds(healthy: Sequence[Healthy], scanners: str, *, modes: bool) -> Folds:
    """Take the statistics of the people of some scanners, without each fold."""
    of = folds_of([brain.case.subject for brain in healthy], modes=True)
    with ArrayStore() as store:
        known = [brain for brain in healthy if brain.scanner in scanners]
        brains = [FoldedBrain(widened(b.features), b.canonical.mask, of[b.case.subject]) for b in known]
        fit = CrossFit(brains, store, prior={}, count=count_for(len(brains)) if modes else 0)
        without = {fold: fit.statistics(frozenset({fold})) for fold in range(max(of.values()) + 1)}
        return Folds(of, without, fit.statistics())


def trial(
    healthy: Sequence[Healthy],
    diseased: Sequence[Diseased],
    scanners: str,
    *,
    modes: bool,
    contrast: str,
    methods: Sequence[Method] = METHODS,
    model: Model | None = None,
    store: ArrayStore | None = None,
) -> Trial:
    """Judge people and lesions: statistics of some scanners, people of both judged by those who are not themselves.

    A store keeps the maps outside memory.
    """
    statistics = folds(healthy, scanners, modes=modes)
    judged = [brain for brain in healthy if not brain.learned]
    judge = None if model is None else model.checkpoint.judge

    def maps_of(features: Features, host: Healthy) -> Maps:
        maps = statistics.signed(features, host, methods, contrast, judge)
        return maps if store is None else {method: store.kept(values) for method, values in maps.items()}

    maps = [maps_of(brain.features, brain) for brain in judged]
    lesion_maps = [maps_of(one.features, one.host) for one in diseased]
    return Trial(scanners, contrast, statistics, judged, maps, diseased, lesion_maps, model)


def met(signed: FloatArray, extent: float, level: float, one: Diseased, likeness: FloatArray | None = None) -> Met:
    """Compare the findings of a map on the canonical grid with a lesion."""
    labels, candidates = candidates_of(signed, extent, least=level, likeness=likeness)
    strong = {c.label for c in candidates if c.strength > level}
    marked = np.isin(labels, list(strong))
    sizes, annotated = voxels_of(np.where(marked, labels, 0), one.truth)
    on = (sizes > 0) & reaches_share(annotated, sizes)
    strongest = max(candidates, key=lambda c: c.strength, default=None)
    covered = np.count_nonzero(marked & one.truth)
    return Met(
        found=bool(on.any()),
        first=strongest is not None and strongest.strength > level and bool(on[strongest.label - 1]),
        false=len(strong) - int(np.count_nonzero(on)),
        dice=2 * covered / (np.count_nonzero(marked) + np.count_nonzero(one.truth)),
        ap=average_precision(np.abs(signed), one.truth, doubled_mask(one.host.canonical.mask)),
    )


def voxels_of(numbers: NDArray[np.number], truth: BoolArray) -> tuple[VoxelCounts, VoxelCounts]:
    """Return the voxels of finding 1, 2, ... and how many of them are annotated, int (N,) each."""
    own = numbers.astype(np.intp)
    sizes = np.bincount(own.ravel())
    return sizes[1:], np.bincount(own[truth], minlength=len(sizes))[1:]


def average_precision(values: FloatArray, truth: BoolArray, brain: BoolArray) -> float:
    """Return the AP inside the brain."""
    return float(
        rank_sorted([np.sort(values[brain & truth])], [np.sort(values[brain & ~truth])]).average_precision or 0
    )
