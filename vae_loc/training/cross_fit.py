"""Cross-fitting: each healthy subject is scored with statistics of the other folds (design [73]).

Subjects lie in folds. For every set of folds that is left out there are means and spreads by place and, where there are
enough subjects, modes of healthy variation. The rest of a brain without its modes is taken by modes of other folds:

    usual(S)      mean and sd by place, modes: of all folds but S
    rest(S)       mean and sd by place of the rest of the brains of each fold g not in S by usual(S and g)
    statistics(S) both; a brain of fold f is scored with statistics({f}), a new one with statistics({})
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from vae_loc.scoring.healthy_modes import principal_modes, without_modes
from vae_loc.scoring.normalised_maps import SIGNED, Feature, Features, Moments, at_place, mean_and_sd, moments
from vae_loc.system.array_store import ArrayStore
from vae_loc.vocabulary import BoolArray, FloatArray

FOLDS, FOLDS_WITH_MODES = 10, 5  # with modes, each pair of folds is left out once
MIN_OTHERS = 4  # subjects that give a spread by place
Sums = dict[str, Moments]
Folds = frozenset[int]


@dataclass(frozen=True)
class FoldedBrain:
    """A healthy brain's features, float32 (I, I, I) each, its mask, and the fold of its subject."""

    features: Features
    mask: BoolArray
    fold: int


@dataclass(frozen=True)
class Statistics:
    """Means and spreads by place, float32 (I, I, I), and modes, float32 (K, N), by feature, for `normalised_maps`."""

    reference: dict[str, FloatArray]
    modes: dict[str, FloatArray]


def folds_of(subjects: Sequence[str], *, modes: bool) -> dict[str, int]:
    """Return the fold of each subject, round robin by name."""
    names = sorted(set(subjects))
    count = min(FOLDS_WITH_MODES if modes else FOLDS, len(names))
    return {name: index % count for index, name in enumerate(names)}


class CrossFit:
    """Statistics of healthy brains with folds left out.

    Parameters
    ----------
    brains : at least one
    prior : sums that no fold can leave out
    given : modes to keep, with the reference that they are of
    count : how many modes are made of these brains where none are given; the same whichever folds are left out
    """

    def __init__(
        self,
        brains: Sequence[FoldedBrain],
        store: ArrayStore,
        *,
        prior: Sums,
        given: Statistics | None = None,
        count: int = 0,
    ) -> None:
        self._brains, self._prior = brains, prior
        self._given, self._count = given or Statistics({}, {}), count
        self._folds = sorted({brain.fold for brain in brains})
        features = brains[0].features
        self._moded = [name for name in SIGNED.values() if name in features and (count or name in self._given.modes)]

        # the sums of each fold, and of all: folds are left out by subtraction
        self._own: dict[int, Sums] = {}
        for fold in self._folds:
            of_fold = [brain for brain in brains if brain.fold == fold]
            sums = added({str(name): moments(v, brain.mask) for name, v in brain.features.items()} for brain in of_fold)
            self._own[fold] = {name: store.kept(total) for name, total in sums.items()}
        self._total = added([prior, *self._own.values()])
        self._rest: dict[Folds, Sums] = self._rests() if self._moded else {}

    def statistics(self, left_out: Folds = frozenset()) -> Statistics:
        """Return the statistics without some folds: none, or one."""
        left_out = self._possible(left_out)
        usual = self._usual(left_out)
        return Statistics(usual.reference | reference_of(self._rest.get(left_out, {})), usual.modes)

    def _possible(self, left_out: Folds) -> Folds:
        """Return the folds to leave out, or none where the others are too few for a spread."""
        counts = [sums[0].max() for sums in self._without(left_out).values()]
        return left_out if counts and min(counts) >= MIN_OTHERS else frozenset()

    def _without(self, left_out: Folds) -> Sums:
        known = {name: sums for name, sums in self._total.items() if not name.endswith(".rest")}
        for fold in left_out:
            known = {name: sums - self._own[fold].get(name, 0) for name, sums in known.items()}
        return known

    def _usual(self, left_out: Folds) -> Statistics:
        """Return mean and sd without some folds, and modes: those given, else those of the other folds' brains."""
        reference = reference_of(self._without(left_out))
        others = [brain for brain in self._brains if brain.fold not in left_out]
        modes: dict[str, FloatArray] = {}
        for name in self._moded:
            known = reference[f"{name}.sd"] > 0
            if name in self._given.modes:
                # from the places where the given reference has a spread to those where this one has
                everywhere = np.zeros((len(self._given.modes[name]), *known.shape), dtype=np.float32)
                everywhere[:, self._given.reference[f"{name}.sd"] > 0] = self._given.modes[name]
                modes[name] = everywhere[:, known]
            else:
                usual_maps = (_usual_map(brain, name, reference) for brain in others)
                modes[name] = principal_modes(usual_maps, known, self._count)
        return Statistics(reference, modes)

    def _rests(self) -> dict[Folds, Sums]:
        """Return, for no fold and for each fold left out, the sums of the rests of the other brains without modes."""
        rests: dict[Folds, Sums] = defaultdict(dict)
        for left_out in (frozenset({f, g}) for f in self._folds for g in self._folds if f <= g):
            # the modes of a pair serve both folds: each one's rest belongs where the other is left out
            usual = self._usual(self._possible(left_out))
            for fold in left_out:
                sums = added(self._rest_sums(usual, brain) for brain in self._brains if brain.fold == fold)
                others = left_out - {fold}
                rests[others] = added([rests[others], sums])
        prior = {name: sums for name, sums in self._prior.items() if name.endswith(".rest")}
        return {left_out: added([prior, sums]) for left_out, sums in rests.items()}

    def _rest_sums(self, usual: Statistics, brain: FoldedBrain) -> Sums:
        sums = {}
        for name in self._moded:
            known = usual.reference[f"{name}.sd"] > 0
            rest = without_modes(_usual_map(brain, name, usual.reference), brain.mask, known, usual.modes[name])
            sums[f"{name}.rest"] = moments(rest, brain.mask & known)
        return sums


def added(parts: Iterable[Sums]) -> Sums:
    """Return the sums of several brains or folds."""
    total: Sums = {}
    for part in parts:
        for name, sums in part.items():
            total[name] = total.get(name, 0) + sums
    return total


def reference_of(sums: Sums) -> dict[str, FloatArray]:
    """Return mean and standard deviation by place of each feature, as rounded as a model keeps them."""
    return {
        f"{name}.{part}": values.astype(np.float16).astype(np.float32)
        for name, of in sums.items()
        for part, values in zip(("mean", "sd"), mean_and_sd(of), strict=True)
    }


def _usual_map(brain: FoldedBrain, name: Feature, reference: dict[str, FloatArray]) -> FloatArray:
    return at_place(brain.features[name], brain.mask, reference[f"{name}.mean"], reference[f"{name}.sd"])
