"""What the judge of the learned map is worth: its features, its hosts, its kinds of made lesions, other judges.

    python -m benchmarks.measured.judge --shared ../shared/data -o docs/measured/judge.md

The healthy people are the held-out IXI subjects and ds002748; each has statistics of the other four folds of them.
Three of four are hosts: judges learn from them, as they are and with four made lesions each.
Judges are tried on lesions that another maker transplanted into the others, and on patients.
The patients' statistics are the shipped model's.
The maximum over scales is that of Combi and of it smoothed by 7, 14 and 24 mm, each over its spread in the hosts.
Without mass effect, the made lesions are the same ones, but none pushes tissue aside; else three of ten do.
The U-Net sees whole brains with 16 of the 25 features, 12 times each (`benchmarks/measured/judge_unet.py`).
Values are the mean AP on the canonical grid of 3 mm, without the evidence at half the pixel, and oracle Dice of gliomas.
Brackets hold the 95 % interval of a bootstrap over people.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from benchmarks.cohorts import LABELS, cases_in
from benchmarks.command import finish, made_by, parser_of, reading
from benchmarks.measured.judge_unet import unet
from benchmarks.page import interval, table
from benchmarks.transplants import gliomas_of, lesions_in
from benchmarks.trial import Folds, Healthy, folds, healthy_people
from vae_loc.evaluation.metrics import rank_sorted
from vae_loc.model.network import Model, load_model
from vae_loc.preprocessing.canonical import CanonicalVolume, onto_grid
from vae_loc.preprocessing.open_scan import open_scan
from vae_loc.preprocessing.smoothing import smoothed
from vae_loc.scans.volume import read_labels
from vae_loc.scoring.aligned_scan import canonical_of
from vae_loc.scoring.learned_map import JUDGE_FWHM_MM, judge_features, log_odds
from vae_loc.scoring.locate import score_canonical
from vae_loc.scoring.normalised_maps import Features, judged_maps, normalised_maps
from vae_loc.training.cross_fit import Statistics
from vae_loc.training.learned_judge import BRAINS_PER_HOST, Specimen, trained_judge, voxels_looked_at
from vae_loc.training.made_lesions import LESION_KINDS, made_lesion
from vae_loc.vocabulary import BoolArray, FloatArray

EVERY = 4  # of the healthy people, who are no hosts
SEEDS = 3
COUNTS = (10, 20, 40)  # of hosts
MAPS = ("combi", "rec-error", "place-z")
SAMPLED = ("residual", "kl-magnitude", "intensity", "fine")  # the features of a brain that a judge's are made of
HEALTHY = "healthy"  # the kind of a host as he is
SCALES_MM = (0.0, 7.0, 14.0, 24.0)  # by which Combi is smoothed once more
Odds = Callable[[FloatArray], FloatArray]  # log-odds (N,) of features (N, F)


@dataclass(frozen=True)
class Seen:
    """Voxels that judges learn from.

    features, unmoved : float32 (N, F); of the same lesions without mass effect
    lesion : bool (N,)
    host, kind : int (N,); the kind of -1 is a host as he is
    scanner : str (N,)
    """

    features: FloatArray
    unmoved: FloatArray
    lesion: BoolArray
    host: np.ndarray
    kind: np.ndarray
    scanner: np.ndarray

    def of(self, chosen: np.ndarray) -> Seen:
        """Return some of the voxels."""
        return Seen(*(getattr(self, name)[chosen] for name in self.__dataclass_fields__))


@dataclass(frozen=True)
class Brain:
    """A brain, healthy or with a lesion: its kind, features of its voxels, (N, F), mask, lesion and maps, (N,) each."""

    kind: str
    features: FloatArray
    mask: BoolArray
    lesion: BoolArray
    maps: dict[str, FloatArray]

    def ranked(self, values: FloatArray) -> tuple[float, float]:
        """Return AP and oracle Dice of the magnitudes of a map, (N,), in the brain."""
        of, truth = np.abs(values), self.lesion[self.mask]
        ranking = rank_sorted([np.sort(of[truth])], [np.sort(of[~truth])])
        return ranking.average_precision or 0.0, ranking.best_dice or 0.0

    def judged(self, odds: BrainOdds) -> tuple[float, float]:
        """Return AP and oracle Dice of a judge."""
        return self.ranked(np.logaddexp(0, self.smoothed(odds(self), JUDGE_FWHM_MM)))

    def smoothed(self, values: FloatArray, fwhm_mm: float) -> FloatArray:
        """Return values of the brain's voxels, (N,), smoothed."""
        volume = np.zeros(self.mask.shape, dtype=np.float32)
        volume[self.mask] = values
        return smoothed(volume, self.mask, 3.0, fwhm_mm)[self.mask]


BrainOdds = Callable[[Brain], FloatArray]  # log-odds (N,)


def main() -> None:
    """Print and write the page."""
    options = parser_of(__doc__, shared=True, output=True, models=True).parse_args()
    torch.set_num_threads(1)
    path = options.models / "t1.safetensors"
    model = load_model(path)
    # the statistics, voxels of hosts and made lesions, brains to try judges on
    people = [brain for brain in healthy_people(model, path, options.shared) if not brain.learned]
    people = [replace(brain, features=features_of(brain.canonical, model)) for brain in people]
    of = folds(people, "IXI, ds002748", modes=True)
    hosts = [brain for number, brain in enumerate(people) if number % EVERY]
    names, seen, brains = voxels_seen(hosts, model, of)
    tests = [*patients(model, options.shared), *transplants(model, people[::EVERY], of, options.shared)]
    print(len(hosts), "hosts", seen.features.shape, "voxels", len(tests), "brains with a lesion", flush=True)
    text = f"# The judge of the learned map\n\n{made_by('benchmarks.measured.judge')}\n{reading(__doc__)}"
    finish(text + page(seen, names, brains, tests), options.output)


def features_of(canonical: CanonicalVolume, model: Model) -> Features:
    """Return the features that statistics and judges need, at half the precision."""
    scores = score_canonical(canonical, model, ("combi",))
    return {name: scores.features[name].astype(np.float16) for name in SAMPLED}


def voxels_of_judge(features: Features, mask: BoolArray, by: Statistics) -> dict[str, FloatArray]:
    """Return the judge's features, (N,) each."""
    wide = {name: values.astype(np.float32) for name, values in features.items()}
    return judge_features(judged_maps(wide, mask, by.reference, by.modes), mask)


def voxels_seen(hosts: Sequence[Healthy], model: Model, of: Folds) -> tuple[list[str], Seen, list[Brain]]:
    """Return the names of the judge's features, voxels of each host, as he is and with made lesions, and all of both."""
    rng, parts, brains, donor = np.random.default_rng(0), [], [], hosts[0].canonical
    kinds = list(LESION_KINDS)
    names: list[str] = []
    for number, host in enumerate(hosts):
        fold, mask = of.of[host.case.subject], host.canonical.mask
        by, nothing = of.without[fold], np.zeros_like(mask)
        for kind in (-1, *rng.choice(len(kinds), BRAINS_PER_HOST, p=list(LESION_KINDS.values()))):
            sick, lesion, features, still = host.canonical, nothing, host.features, host.canonical
            if kind >= 0:
                only, twin = {kinds[kind]: 1.0}, deepcopy(rng)
                still, _ = made_lesion(host.canonical, donor, twin, only, push=(0.0, 0.0))
                sick, lesion = made_lesion(host.canonical, donor, rng, only)
                features = features_of(sick, model)
            named = voxels_of_judge(features, mask, by)
            chosen = voxels_looked_at(Specimen({}, mask, fold, lesion if kind >= 0 else None), rng)
            names, looked_at = list(named), at(named, chosen)
            unmoved = looked_at
            if (still.data != sick.data).any():
                unmoved = at(voxels_of_judge(features_of(still, model), mask, by), chosen)
            same = [np.full(len(chosen), value) for value in (number, kind)]
            parts.append((looked_at, unmoved, lesion[mask][chosen], *same, np.full(len(chosen), host.scanner)))
            every = np.stack(list(named.values()), axis=1).astype(np.float16)
            maps = maps_of(features, mask, by) if kind < 0 else {}
            brains.append(Brain(HEALTHY if kind < 0 else kinds[kind], every, mask, lesion, maps))
        donor = host.canonical
    return names, Seen(*(np.concatenate(part) for part in zip(*parts, strict=True))), brains


def at(named: dict[str, FloatArray], chosen: np.ndarray) -> FloatArray:
    """Return the features of some voxels, (N, F)."""
    return np.stack([values[chosen] for values in named.values()], axis=1)


def maps_of(features: Features, mask: BoolArray, by: Statistics) -> dict[str, FloatArray]:
    """Return the maps of a brain without the evidence at half the pixel, (N,) each."""
    coarse = {name: values.astype(np.float32) for name, values in features.items() if name != "fine"}
    maps = normalised_maps(coarse, mask, by.reference, MAPS, by.modes, contrast="t1")
    return {name: values[mask] for name, values in maps.items()}


def tested(kind: str, features: Features, canonical: CanonicalVolume, lesion: BoolArray, by: Statistics) -> Brain:
    """Return a brain with a lesion, with its maps by statistics that do not know it."""
    mask = canonical.mask
    stacked = np.stack(list(voxels_of_judge(features, mask, by).values()), axis=1)
    return Brain(kind, stacked, mask, lesion, maps_of(features, mask, by))


def patients(model: Model, shared: Path) -> Iterator[Brain]:
    """Yield the patients with an annotated lesion."""
    by = Statistics(model.reference, model.checkpoint.modes)
    for folder in LABELS:
        for case in cases_in(shared / folder, "t1"):
            scan = open_scan(case)
            canonical = canonical_of(scan, model)
            truth, _ = read_labels(shared / folder / LABELS[folder].format(subject=case.subject), scan.volume)
            lesion = onto_grid(truth.astype(np.float32), scan.volume, scan.brain, canonical.grid) > 0.5
            kind = "multiple sclerosis" if folder.startswith("ms") else folder
            if (lesion & canonical.mask).any():
                features = features_of(canonical, model)
                yield tested(kind, features, canonical, lesion & canonical.mask, by)


def transplants(model: Model, hosts: Sequence[Healthy], of: Folds, shared: Path) -> Iterator[Brain]:
    """Yield healthy people with a glioma, a hole, a spot and a faint lesion, one at a time."""
    gliomas, rng = gliomas_of(model, shared), np.random.default_rng(0)
    for number, host in enumerate(hosts):
        fold = of.of[host.case.subject]
        for kind, sick, truth in lesions_in(host.canonical, gliomas[number % len(gliomas)], "t1", rng):
            lesion = truth[::2, ::2, ::2]
            yield tested(f"{kind}, transplanted", features_of(sick, model), sick, lesion, of.without[fold])


def page(seen: Seen, names: Sequence[str], brains: Sequence[Brain], tests: Sequence[Brain]) -> str:
    """Return the table of maps and judges; `brains` are those that `seen` are voxels of."""
    kinds = list(dict.fromkeys(test.kind for test in tests))
    counts = [f"{kind} ({sum(test.kind == kind for test in tests)})" for kind in kinds]
    rows = [[name, *cells(kinds, tests, lambda test, of=name: test.ranked(test.maps[of]))] for name in MAPS]
    scaled = over_scales([brain for brain in brains if brain.kind == HEALTHY])
    rows.append(["combi, maximum over scales", *cells(kinds, tests, lambda test: test.ranked(scaled(test)))])
    for title, learned in judges(seen, names, brains):
        odds = learned()
        rows.append([title, *cells(kinds, tests, lambda test, odds=odds: test.judged(odds))])
        print(rows[-1], flush=True)
    return f"\n{table(['map or judge', *counts, 'oracle Dice of gliomas'], rows)}"


def over_scales(healthy: Sequence[Brain]) -> Callable[[Brain], FloatArray]:
    """Return the magnitude of Combi, (N,) of a brain, at each voxel's strongest scale, in healthy people's spreads."""

    def at_scale(brain: Brain, fwhm_mm: float) -> FloatArray:
        values = brain.maps["combi"]
        return brain.smoothed(values, fwhm_mm) if fwhm_mm else values

    spreads = {of: float(np.std(np.concatenate([at_scale(brain, of) for brain in healthy]))) for of in SCALES_MM}
    return lambda brain: np.max([np.abs(at_scale(brain, of)) / spread for of, spread in spreads.items()], axis=0)


def cells(
    kinds: Sequence[str], tests: Sequence[Brain], ranked: Callable[[Brain], tuple[float, float]]
) -> Iterator[str]:
    """Yield the mean AP of each kind of brain, and the gliomas' oracle Dice."""
    of = {kind: np.array([ranked(test) for test in tests if test.kind == kind]) for kind in kinds}
    yield from (interval(list(values[:, 0])) for values in of.values())
    yield interval(list(of["gliomas"][:, 1]))


def judges(seen: Seen, names: Sequence[str], brains: Sequence[Brain]) -> Iterator[tuple[str, Callable[[], BrainOdds]]]:
    """Yield the title of each judge, and the function that learns it."""
    for seed in range(SEEDS):
        yield f"**learned**, seed {seed}", of_voxels(partial(network, seed=seed), seen)
    yield "logistic regression", of_voxels(logistic, seen)
    yield "gradient-boosted trees", of_voxels(trees, seen)
    yield "small 3-D U-Net", partial(unet, brains, names)
    # without some features: they are all 0
    parts = {
        "without the network's features": ("residual", "kl"),
        "without the intensity's features": ("intensity", "fine", "own"),
        "without KL-Grad": ("kl",),
    }
    gone = {title: [name.startswith(of) for name in names] for title, of in parts.items()}
    gone["without the mirrored place"] = [name.endswith(".mirrored") for name in names]
    gone["without neighbourhoods"] = [name.split(".")[-1] in {"1", "2", "4", "8", "spread"} for name in names]
    for title, left_out in gone.items():
        yield title, of_voxels(partial(without, left_out=np.array(left_out)), seen)
    # fewer hosts, hosts of one scanner, without one kind of lesion
    order = np.random.default_rng(0).permutation(seen.host.max() + 1)
    for count in COUNTS:
        yield f"{count} hosts", of_voxels(network, seen.of(np.isin(seen.host, order[:count])))
    for scanner in np.unique(seen.scanner):
        yield f"hosts of {scanner}", of_voxels(network, seen.of(seen.scanner == scanner))
    yield "without mass effect", of_voxels(network, replace(seen, features=seen.unmoved))
    for number, kind in enumerate(LESION_KINDS):
        yield f"without lesions that are {kind}", of_voxels(network, seen.of(seen.kind != number))


def of_voxels(learn: Callable[[Seen], Odds], seen: Seen) -> Callable[[], BrainOdds]:
    """Return the function that learns a judge of single voxels."""

    def learned() -> BrainOdds:
        odds = learn(seen)
        return lambda brain: odds(brain.features)

    return learned


def network(seen: Seen, seed: int = 0) -> Odds:
    """Return the judge that a model would learn."""
    judge = trained_judge(seen.features, seen.lesion, seed=seed)
    return lambda features: log_odds(features, judge)


def without(seen: Seen, left_out: np.ndarray) -> Odds:
    """Return the judge that learns with some features at 0."""
    kept = (~left_out).astype(np.float32)
    odds = network(replace(seen, features=seen.features * kept))
    return lambda features: odds(features * kept)


def logistic(seen: Seen) -> Odds:
    """Return a logistic regression of the same transformed features."""
    from sklearn.linear_model import LogisticRegression

    of = LogisticRegression(max_iter=300).fit(np.arcsinh(seen.features), seen.lesion)
    return lambda features: of.decision_function(np.arcsinh(features)).astype(np.float32)


def trees(seen: Seen) -> Odds:
    """Return gradient-boosted trees: 200 of 24 leaves."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    of = HistGradientBoostingClassifier(max_iter=200, max_leaf_nodes=24, random_state=0).fit(seen.features, seen.lesion)
    return lambda features: of.decision_function(features).astype(np.float32)


if __name__ == "__main__":
    main()
