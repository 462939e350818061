"""What `segment` finds by default: in healthy people, in healthy people with a transplanted lesion, in patients.

    python -m benchmarks.measured.findings --shared ../shared/data -o docs/measured/findings.md

The healthy people are the held-out IXI subjects and ds002748.
They lie in five folds, and each fold is judged by statistics, modes and a threshold of the others.
Lesions are transplanted into the same people: a patient's glioma, a hole filled with fluid, a small faint spot.
Patients are judged by the shipped model as it is.
Brackets hold the 95 % interval of a bootstrap over people.
"""

from __future__ import annotations

import argparse
import platform
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from benchmarks.tools.refresh_models import site_cases, without_site
from benchmarks.transplants import KINDS, cases_in, gliomas_of, lesions_in
from vae_loc.evaluation.baselines import baseline_maps
from vae_loc.evaluation.lesions import FOUND_SHARE
from vae_loc.evaluation.metrics import mean_interval, rank_sorted
from vae_loc.model.checkpoint import Checkpoint, healthy_threshold
from vae_loc.model.facts import HealthyFindings
from vae_loc.model.network import Model, load_model, ready
from vae_loc.preprocessing.canonical import CanonicalVolume
from vae_loc.preprocessing.open_scan import open_scan
from vae_loc.preprocessing.pseudo_contrast import appearance_of
from vae_loc.preprocessing.resampling import doubled_mask
from vae_loc.scans.cases import Case
from vae_loc.scans.volume import read_labels
from vae_loc.scoring.aligned_scan import canonical_of
from vae_loc.scoring.findings import (
    candidates_of,
    extent_fpr,
    healthy_findings,
    known_findings,
    strength_for,
    strengths_of,
)
from vae_loc.scoring.healthy_modes import count_for
from vae_loc.scoring.locate import locate, score_canonical
from vae_loc.scoring.normalised_maps import Features, normalised_maps
from vae_loc.scoring.score_options import DEFAULT_FALSE_FINDINGS, ScoreOptions, Segmentation
from vae_loc.scoring.segmentation import segment
from vae_loc.system.array_store import ArrayStore
from vae_loc.training.cross_fit import CrossFit, FoldedBrain, Statistics, folds_of
from vae_loc.training.healthy_reference import calibrate_cases
from vae_loc.training.training_record import read_record
from vae_loc.vocabulary import PLACE_Z, BoolArray, FloatArray, Method

METHODS: tuple[Method, ...] = ("combi", "rec-error")
CONTRASTS = ("t1", "t2", "flair")
EXTENTS = (0.03, 0.02, 0.01, 0.005)  # shares of healthy voxels beyond the extent
RESAMPLES = 2000
PATIENTS = {
    "gliomas": "{subject}_seg.nii.gz",
    "ms": "{subject}_lesions.nii.gz",
    "ms_tabriz": "{subject}_seg.nii.gz",
    "stroke": "{subject}_lesions.nii.gz",
}


@dataclass
class Healthy:
    """A healthy brain: its features, and on which scanner it was made."""

    case: Case
    scanner: str
    learned: bool
    canonical: CanonicalVolume
    features: Features


@dataclass
class Sick:
    """A healthy brain with a lesion: whose it is, of what kind, and where the lesion is, at half the pixel."""

    host: Healthy
    kind: str
    canonical: CanonicalVolume
    truth: BoolArray


@dataclass
class Diseased:
    """The features of a healthy brain with a lesion."""

    host: Healthy
    kind: str
    features: Features
    truth: BoolArray


@dataclass
class Met:
    """How the findings of a map met a lesion."""

    found: bool
    first: bool
    false: int
    dice: float
    ap: float


def main() -> None:
    """Print and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, default=Path("../shared/data"))
    parser.add_argument("--models", type=Path, default=Path("models"), help="folder of t1, t2 and flair")
    parser.add_argument("--only", choices=CONTRASTS, action="append")
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    text = (
        "# Findings\n\nMade by `python -m benchmarks.measured.findings`; seed 0, one thread, "
        f"{platform.machine()}, torch {torch.__version__}.\n" + (__doc__ or "").split("\n\n", 2)[2]
    )
    for contrast in options.only or CONTRASTS:
        began = time.perf_counter()
        text += page(contrast, options)
        print(contrast, f"{time.perf_counter() - began:.0f} s", flush=True)
    print(text)
    if options.output:
        options.output.write_text(text)


def page(contrast: str, options: argparse.Namespace) -> str:
    """Return the tables of one contrast."""
    path = options.models / f"{contrast}.safetensors"
    model = load_model(path)
    healthy = list(healthy_brains(model, path, options.shared))
    diseased = [scored(one, model) for one in transplanted(model, healthy, options.shared)]
    text = f"\n## {contrast.upper()}: model {model.digest[:12]}\n\n### Healthy people, and lesions transplanted into them\n\n"
    text += "| statistics of | modes | map | findings per healthy scan | " + " | ".join(
        f"{kind}: found / strongest is it / false / Dice / AP" for kind in KINDS
    )
    text += " |\n|---|---|---|---|---|---|---|\n"
    for scanners in ("IXI", "ds002748", "IXI, ds002748") if contrast == "t1" else ("IXI, ds002748",):
        for modes in (True, False):
            of = trial(healthy, diseased, scanners, modes=modes, contrast=contrast)
            rows = "".join(trial_rows(of, modes))
            print(rows, flush=True)
            text += rows
            if modes == bool(model.checkpoint.modes) and scanners != "ds002748":
                shipped_alike = of  # the last of these has all scanners that the shipped model knows
    text += extent_rows(shipped_alike) + level_words(model)
    return text + patients_page(model, contrast, options.shared) + real_healthy(path, contrast, options.shared)


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
            appear = appearance_of(case.subject, model.facts.contrast) if synthesized else None
            yield Healthy(case, scanner, case.subject in learned, canonical_of(open_scan(case), model, appear), {})


def features(canonical: CanonicalVolume, model: Model) -> Features:
    """Return what Combi and Rec-Error are made of, at half the precision: there are many."""
    scores = score_canonical(canonical, model, METHODS)
    return {name: scores.features[name].astype(np.float16) for name in ("residual", "kl-magnitude", "fine")}


def scored(one: Sick, model: Model) -> Diseased:
    """Score a brain with a lesion."""
    return Diseased(one.host, one.kind, features(one.canonical, model), one.truth)


def transplanted(model: Model, healthy: Sequence[Healthy], shared: Path) -> Iterable[Sick]:
    """Give each healthy brain that the network did not learn from a glioma, a hole and a spot, one at a time."""
    gliomas, rng = gliomas_of(model, shared), np.random.default_rng(0)
    for number, host in enumerate(brain for brain in healthy if not brain.learned):
        glioma = gliomas[number % len(gliomas)]
        for kind, sick, truth in lesions_in(host.canonical, glioma, model.facts.contrast, rng):
            yield Sick(host, kind, sick, truth)


@dataclass
class Trial:
    """Healthy people and lesions, judged by statistics of some scanners that do not know them.

    folds : of each subject
    maps, lesion_maps : signed, by method, of the judged people and of each lesion
    everyone : the statistics of all healthy people, by which somebody else is judged
    """

    scanners: str
    contrast: str
    folds: dict[str, int]
    judged: list[Healthy]
    maps: list[dict[Method, FloatArray]]
    diseased: Sequence[Diseased]
    lesion_maps: list[dict[Method, FloatArray]]
    everyone: Statistics

    def levels(self, method: Method, share: float) -> tuple[float, list[list[float]], Callable[[Healthy], float]]:
        """Return the extent that a share of healthy voxels exceeds, all strengths, and the level to judge a person by."""
        own = [
            np.abs(maps[method][doubled_mask(brain.canonical.mask)]).astype(np.float32)
            for brain, maps in zip(self.judged, self.maps, strict=True)
            if brain.scanner in self.scanners
        ]
        extent = float(np.quantile(np.concatenate(own), 1 - share))
        strengths = [strengths_of(maps[method].astype(np.float32), extent) for maps in self.maps]

        def level(host: Healthy) -> float:
            fold = self.folds[host.case.subject]
            others = [
                of
                for brain, of in zip(self.judged, strengths, strict=True)
                if brain.scanner in self.scanners and self.folds[brain.case.subject] != fold
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
            rows[one.kind].append(met(maps[method].astype(np.float32), extent, level(one.host), one))
        return rows


def widened(of: Features) -> Features:
    """Return features as the package takes them."""
    return {name: values.astype(np.float32) for name, values in of.items()}


def trial(
    healthy: Sequence[Healthy],
    diseased: Sequence[Diseased],
    scanners: str,
    *,
    modes: bool,
    contrast: str,
    methods: Sequence[Method] = METHODS,
) -> Trial:
    """Judge people and lesions: statistics of some scanners, people of both judged by those who are not themselves."""
    folds = folds_of([brain.case.subject for brain in healthy], modes=True)
    with ArrayStore() as store:
        known = [brain for brain in healthy if brain.scanner in scanners]
        brains = [FoldedBrain(widened(b.features), b.canonical.mask, folds[b.case.subject]) for b in known]
        fit = CrossFit(brains, store, prior={}, count=count_for(len(brains)) if modes else 0)
        by_fold = {fold: fit.statistics(frozenset({fold})) for fold in range(max(folds.values()) + 1)}
        everyone = fit.statistics()

    def signed(of: Features, host: Healthy) -> dict[Method, FloatArray]:
        statistics: Statistics = by_fold[folds[host.case.subject]]
        mask = host.canonical.mask
        maps = normalised_maps(widened(of), mask, statistics.reference, methods, statistics.modes, contrast=contrast)
        return {method: values.astype(np.float16) for method, values in maps.items()}

    judged = [brain for brain in healthy if not brain.learned]
    maps = [signed(brain.features, brain) for brain in judged]
    lesion_maps = [signed(one.features, one.host) for one in diseased]
    return Trial(scanners, contrast, folds, judged, maps, diseased, lesion_maps, everyone)


def trial_rows(of: Trial, modes: bool) -> Iterable[str]:
    """Return a row for each map."""
    for method in METHODS:
        counts = of.healthy_counts(method, extent_fpr(of.contrast))
        found = ", ".join(f"{scanner} {interval(values)}" for scanner, values in counts.items())
        cells = " | ".join(met_cell(rows) for rows in of.met(method, extent_fpr(of.contrast)).values())
        yield f"| {of.scanners} | {'off' if modes else 'left in'} | {method} | {found} | {cells} |\n"


def extent_rows(of: Trial) -> str:
    """Return the Dice of Combi's findings at several extents."""
    text = "\n### The extent: Dice of Combi's findings\n\n| share of healthy voxels beyond it | " + " | ".join(KINDS)
    text += " |\n|---|" + "---|" * len(KINDS) + "\n"
    for share in EXTENTS:
        cells = (f"{np.mean([row.dice for row in rows]):.3f}" for rows in of.met("combi", share).values())
        text += f"| {share:.1%} | " + " | ".join(cells) + " |\n"
    return text


def level_words(model: Model) -> str:
    """Return the shipped model's level of Combi with the interval of a bootstrap over healthy scans."""
    known = known_findings(model.facts, "combi")
    assert known is not None
    rng = np.random.default_rng(0)
    levels = []
    for _ in range(RESAMPLES):
        drawn = rng.integers(len(known.strengths), size=len(known.strengths))
        strengths, weights = ([of[place] for place in drawn] for of in (known.strengths, known.weights))
        levels.append(strength_for(HealthyFindings(extent=known.extent, strengths=strengths, weights=weights), 0.1))
    low, high = np.quantile(levels, (0.025, 0.975))
    return (
        f"\nThe shipped model's strength of Combi for 0.1 findings per healthy scan, by {len(known.strengths)} scans: "
        f"{strength_for(known, 0.1):.2f} [{low:.2f}, {high:.2f}].\n"
    )


def met(signed: FloatArray, extent: float, level: float, one: Diseased) -> Met:
    """Compare the findings of a map on the canonical grid with a lesion."""
    labels, candidates = candidates_of(signed, extent)
    strong = {c.label for c in candidates if c.strength > level}
    touching = set(np.unique(labels[one.truth])) - {0}
    marked = np.isin(labels, list(strong))
    strongest = max(candidates, key=lambda c: c.strength, default=None)
    covered = np.count_nonzero(marked & one.truth)
    return Met(
        found=covered >= FOUND_SHARE * np.count_nonzero(one.truth),
        first=strongest is not None and strongest.strength > level and strongest.label in touching,
        false=len(strong - touching),
        dice=2 * covered / (np.count_nonzero(marked) + np.count_nonzero(one.truth)),
        ap=average_precision(np.abs(signed), one.truth, doubled_mask(one.host.canonical.mask)),
    )


def average_precision(values: FloatArray, truth: BoolArray, brain: BoolArray) -> float:
    """Return the AP inside the brain."""
    return float(
        rank_sorted([np.sort(values[brain & truth])], [np.sort(values[brain & ~truth])]).average_precision or 0
    )


def patients_page(model: Model, contrast: str, shared: Path) -> str:
    """Return what the model's defaults find in patients, on their own grids."""
    text = "\n### Patients, the shipped model's defaults\n\n| patient | lesion ml | found | strongest is it | false findings | Dice | oracle Dice | AP Combi | AP intensity | AP place-z | strongest finding |\n"
    text += "|---|---|---|---|---|---|---|---|---|---|---|\n"
    gliomas = []
    for cohort, label in PATIENTS.items():
        for case in cases_in(shared / cohort, contrast):
            row, of = patient_row(cohort, case, shared / cohort / label.format(subject=case.subject), model)
            text += row
            gliomas += [of] if cohort == "gliomas" else []
    found, first, false, dice, ap = (interval(values) for values in zip(*gliomas, strict=True))
    return text + (
        f"\nMeans of the gliomas: found {found}, strongest is it {first}, false findings {false}, Dice {dice}, AP {ap}.\n"
    )


def real_healthy(path: Path, contrast: str, shared: Path) -> str:
    """Return what is found in the real healthy scans that a model is calibrated on, and in lesions in them."""
    cases = site_cases(contrast, shared)
    return real_page(without_site(path, shared), cases, shared) if cases else ""


def real_page(before: Checkpoint, cases: Sequence[Case], shared: Path) -> str:
    """Return the tables of real healthy scans: each is judged by a model that was calibrated on the others."""
    text = "\n### Healthy, real: ds011, slices of 5 mm\n\n| the model | findings in each | voxels flagged at 5 %, in % | at 1 %, in % |\n|---|---|---|---|\n"
    calibrated = [ready(calibrate_cases(before, [of for of in cases if of != case])) for case in cases]
    for title, models in (
        ("before the calibration", [ready(before)] * len(cases)),
        (f"calibrated on the {len(cases) - 1} others", calibrated),
    ):
        located = [
            locate(open_scan(case), model, ScoreOptions(force=True)) for case, model in zip(cases, models, strict=True)
        ]
        pairs = list(zip(located, models, strict=True))
        counts = [len(segment(one, model, "combi", Segmentation()).findings) for one, model in pairs]
        shares = [
            interval(
                [
                    100 * np.mean(one.maps["combi"][one.brain] > healthy_threshold(model.checkpoint, "combi", fpr))
                    for one, model in pairs
                ]
            )
            for fpr in (0.05, 0.01)
        ]
        text += f"| {title} | {', '.join(map(str, counts))} | {shares[0]} | {shares[1]} |\n"
    return text + real_lesions(cases, calibrated, shared)


def real_lesions(cases: Sequence[Case], models: Sequence[Model], shared: Path) -> str:
    """Return the AP of lesions transplanted into real healthy scans, each judged by a model that does not know it."""
    rng, methods = np.random.default_rng(0), (*METHODS, PLACE_Z)
    gliomas = gliomas_of(models[0], shared)  # one template: aligned alike to all of these models
    aps: dict[tuple[Method, str], list[list[float]]] = {(m, kind): [] for m in methods for kind in KINDS}
    for case, model in zip(cases, models, strict=True):
        host = canonical_of(open_scan(case), model)
        sick = [one for of in gliomas for one in lesions_in(host, of, model.facts.contrast, rng)]
        for key in aps:
            aps[key].append([])
        for kind, brain, truth in sick:
            maps = maps_of(brain, model, methods)
            for method, values in maps.items():
                aps[method, kind][-1].append(average_precision(np.abs(values), truth, doubled_mask(brain.mask)))
    text = "\nLesions transplanted into these scans, five of each kind: the mean AP, its interval over people.\n\n"
    text += "| map | " + " | ".join(KINDS) + " |\n|---|" + "---|" * len(KINDS) + "\n"
    for method in methods:
        cells = (interval([float(np.mean(own)) for own in aps[method, kind] if own]) for kind in KINDS)
        text += f"| {method} | " + " | ".join(cells) + " |\n"
    return text


def maps_of(brain: CanonicalVolume, model: Model, methods: Sequence[Method]) -> dict[Method, FloatArray]:
    """Return the signed maps of a brain on the canonical grid, at half its pixel."""
    of = score_canonical(brain, model, methods).features
    return normalised_maps(
        of, brain.mask, model.reference, methods, model.checkpoint.modes, contrast=model.facts.contrast
    )


def patient_row(cohort: str, case: Case, label: Path, model: Model) -> tuple[str, tuple[float, ...]]:
    """Return the row of one patient; found, strongest, false findings, Dice and AP also as numbers."""
    scan = open_scan(case)
    truth, _ = read_labels(label, scan.volume)
    truth &= scan.brain
    located = locate(scan, model, ScoreOptions(force=True))
    segmented = segment(located, model, "combi", Segmentation())
    touching = set(np.unique(segmented.numbers[truth])) - {0}
    covered = np.count_nonzero(segmented.mask & truth)
    first = 1 in touching  # findings are numbered from the strongest; without one there is none
    dice = 2 * covered / max(1, np.count_nonzero(segmented.mask) + np.count_nonzero(truth))
    values, brain = located.maps["combi"], scan.brain
    ranking = rank_sorted([np.sort(values[brain & truth])], [np.sort(values[brain & ~truth])])
    others = baseline_maps(scan.volume, brain, located.canonical, model.reference, contrast=model.facts.contrast)
    aps = [average_precision(others[name], truth, brain) for name in ("intensity", "place-z") if name in others]
    said = segmented.findings[0] if segmented.findings else None
    words = f"{said.volume_ml:.3g} ml, {said.sign}, {said.place.words() if said.place else ''}" if said else "none"
    found = covered >= FOUND_SHARE * np.count_nonzero(truth)
    ml = np.count_nonzero(truth) * scan.volume.voxel_mm3 / 1000
    false, ap = len(segmented.findings) - len(touching), ranking.average_precision or 0.0
    row = (
        f"| {cohort} {case.subject} | {ml:.3g} | {'yes' if found else 'no'} | {'yes' if first else 'no'} | "
        f"{false} | {dice:.2f} | {ranking.best_dice or 0:.2f} | {ap:.2f} | "
        + " | ".join(f"{other:.2f}" for other in aps)
        + f" | {words} |\n"
    )
    return row, (found, first, false, dice, ap)


def met_cell(rows: Sequence[Met]) -> str:
    """Return found, strongest, false, Dice and AP of lesions, with the interval of what is found."""
    mean: Callable[[str], float] = lambda name: float(np.mean([getattr(row, name) for row in rows]))  # noqa: E731
    return f"{interval([row.found for row in rows])} / {mean('first'):.2f} / {mean('false'):.2f} / {mean('dice'):.2f} / {mean('ap'):.2f}"


def interval(values: Sequence[float]) -> str:
    """Return a mean over people and its interval."""
    of = mean_interval([float(value) for value in values])
    return f"{of.mean:.2f} [{of.low:.2f}, {of.high:.2f}]"


if __name__ == "__main__":
    main()
