"""The judge of the learned map: a small multilayer perceptron, trained on lesions made in healthy brains (design [98]).

It sees some voxels of each host, as he is and with each made lesion: inside the lesion, near it and elsewhere. The
judge of a fold learned from the hosts of the other folds, and each host's features are by statistics without his own
fold. The training is in numpy, on one thread and from one seed, so that it gives the same bytes.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from vae_loc.model.facts import JUDGE_WIDTHS
from vae_loc.model.network import Model
from vae_loc.preprocessing.canonical import CanonicalVolume
from vae_loc.preprocessing.regions import distance_mm
from vae_loc.preprocessing.resampling import block_means
from vae_loc.preprocessing.robust_fit import SD_PER_MAD
from vae_loc.scoring.learned_map import judge_features
from vae_loc.scoring.locate import score_canonical
from vae_loc.scoring.normalised_maps import Features, judged_maps
from vae_loc.system.array_store import ArrayStore
from vae_loc.system.blas_threads import one_blas_thread
from vae_loc.training.cross_fit import Statistics
from vae_loc.training.made_lesions import made_lesion
from vae_loc.vocabulary import BoolArray, FloatArray

SEED = 0
BRAINS_PER_HOST = 4  # with made lesions
TWO_LESIONS = 0.3  # share of them with a second one
INSIDE, NEAR, FAR, HEALTHY = 250, 150, 700, 500  # voxels that are looked at, at most; the last without a lesion
NEAR_PIXELS = 3.0
EPOCHS, BATCH = 12, 2048
PEAK_RATE, WARM_SHARE = 3e-3, 0.2  # of Adam, which rises to it for a fifth of the steps and falls down a cosine
DECAY = 1e-4
MIN_SCALE = 1e-3  # of a feature


@dataclass(frozen=True)
class Specimen:
    """A host's features and mask, with a made lesion, bool (I, I, I), or None, and the fold that he is in."""

    features: Features
    mask: BoolArray
    fold: int
    lesion: BoolArray | None = None


class MadeLesions:
    """Gathers hosts, as they are and with made lesions; a class because each host gives foreign tissue to the next."""

    def __init__(self, model: Model, store: ArrayStore) -> None:
        self.specimens: list[Specimen] = []
        self._model, self._store = model, store
        self._donor: CanonicalVolume | None = None
        self._rng = np.random.default_rng(SEED)

    def add(self, host: CanonicalVolume, features: Features, fold: int) -> None:
        """Add a host with his features, and score him with made lesions."""
        donor, rng = self._donor or host, self._rng
        self.specimens.append(Specimen(features, host.mask, fold))
        for _ in range(BRAINS_PER_HOST):
            sick, lesion = made_lesion(host, donor, rng)
            if rng.random() < TWO_LESIONS:
                sick, second = made_lesion(sick, donor, rng)
                lesion = lesion | second
            found = score_canonical(sick, self._model, ("combi",)).features
            found["fine"] = sick.mask * block_means(found["fine"], (2, 2, 2))
            kept = {name: self._store.kept(of) for name, of in found.items()}
            self.specimens.append(Specimen(kept, sick.mask, fold, lesion))
        self._donor = host


@one_blas_thread()
def judges_of(
    specimens: Iterable[Specimen], statistics: Mapping[int, Statistics]
) -> dict[int | None, dict[str, FloatArray]]:
    """Return for each fold the judge that learned from the others, and for None that of all.

    Parameters
    ----------
    statistics : for each fold, those without it
    """
    rng = np.random.default_rng(SEED)
    seen: dict[int, list[tuple[FloatArray, BoolArray]]] = defaultdict(list)
    for one in specimens:
        of = statistics[one.fold]
        every = judge_features(judged_maps(one.features, one.mask, of.reference, of.modes), one.mask)
        lesion = np.zeros_like(one.mask) if one.lesion is None else one.lesion
        chosen = voxels_looked_at(one, rng)
        looked_at = np.stack([values[chosen] for values in every.values()], axis=1)
        seen[one.fold].append((looked_at, lesion[one.mask][chosen]))
    judges = {}
    for left_out in (*seen, None):
        parts = [part for fold, parts in seen.items() if fold != left_out for part in parts]
        features, lesion = (np.concatenate(of) for of in zip(*parts, strict=True))
        judges[left_out] = trained_judge(features, lesion)
    return judges


def voxels_looked_at(one: Specimen, rng: np.random.Generator) -> np.ndarray:
    """Return the numbers of the brain voxels that are looked at."""
    groups = [(one.mask, HEALTHY)]
    if one.lesion is not None:
        near = distance_mm(one.lesion, 1.0) <= NEAR_PIXELS
        groups = [(one.lesion, INSIDE), (near & ~one.lesion, NEAR), (~near, FAR)]
    places = [(np.flatnonzero(group[one.mask]), count) for group, count in groups]
    return np.concatenate([rng.choice(of, min(count, len(of)), replace=False) for of, count in places])


def trained_judge(features: FloatArray, lesion: BoolArray, *, seed: int = SEED) -> dict[str, FloatArray]:
    """Return the judge with the least cross-entropy on voxels: features (N, F), bool (N,); Adam with weight decay."""
    rng = np.random.default_rng(seed)
    centre = np.median(features, axis=0)
    scale = (SD_PER_MAD * np.median(np.abs(features - centre), axis=0) + MIN_SCALE).astype(np.float32)
    judge: dict[str, FloatArray] = {}
    for layer, (inputs, outputs) in enumerate(itertools.pairwise(JUDGE_WIDTHS)):
        weight = rng.normal(0, np.sqrt(2 / inputs), (inputs, outputs))
        judge |= {f"{layer}.weight": weight.astype(np.float32), f"{layer}.bias": np.zeros(outputs, np.float32)}
    seen, truth = np.arcsinh((features - centre) / scale), lesion[:, None].astype(np.float32)
    batch = min(BATCH, len(seen))
    order = np.concatenate([rng.permutation(len(seen))[: len(seen) // batch * batch] for _ in range(EPOCHS)])
    steps = order.reshape(-1, batch)
    mean, square = ({name: np.zeros_like(of) for name, of in judge.items()} for _ in range(2))
    for step, chosen in enumerate(steps):
        rate = PEAK_RATE * _rate((step + 1) / len(steps))
        for name, slope in _slopes(judge, seen[chosen], truth[chosen]).items():
            mean[name] = 0.9 * mean[name] + 0.1 * slope
            square[name] = 0.999 * square[name] + 0.001 * slope**2
            moved = mean[name] / (1 - 0.9 ** (step + 1)) / (np.sqrt(square[name] / (1 - 0.999 ** (step + 1))) + 1e-8)
            judge[name] = (judge[name] - rate * (moved + DECAY * judge[name])).astype(np.float32)
    return {"centre": centre, "scale": scale, **judge}


def _rate(done: float) -> float:
    """Return the share of the peak rate, which rises in a line and falls down a cosine."""
    return float(min(done / WARM_SHARE, 0.5 + 0.5 * np.cos(np.pi * (done - WARM_SHARE) / (1 - WARM_SHARE))))


def _slopes(judge: Mapping[str, FloatArray], seen: FloatArray, truth: FloatArray) -> dict[str, FloatArray]:
    """Return the gradient of the mean cross-entropy with respect to each array of the judge's layers."""
    layers = range(len(judge) // 2)
    inputs = [seen]
    for layer in layers:
        inputs.append(np.maximum(inputs[-1] @ judge[f"{layer}.weight"] + judge[f"{layer}.bias"], 0))
    odds = inputs[-2] @ judge[f"{layers[-1]}.weight"] + judge[f"{layers[-1]}.bias"]
    slope = (1 / (1 + np.exp(-odds)) - truth) / len(truth)
    slopes: dict[str, FloatArray] = {}
    for layer in reversed(layers):
        slopes |= {f"{layer}.weight": inputs[layer].T @ slope, f"{layer}.bias": slope.sum(axis=0)}
        slope = (slope @ judge[f"{layer}.weight"].T) * (inputs[layer] > 0)
    return slopes
