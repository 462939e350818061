"""Cross-fitting: each healthy subject is scored with statistics of the other folds (design [73]).

Subjects lie in folds. For every set of folds that is left out there are means and spreads by place and, where there are
enough subjects, modes of healthy variation. The rest of a brain without its modes is taken by modes of other folds:

    usual(S)      mean and sd by place, modes: of all folds but S
    rest(S)       mean and sd by place of the rest of the brains of each fold g not in S by usual(S and g)
    statistics(S) both; a brain of fold f is scored with statistics({f}), a new one with statistics({})

Of unselected people, some of whom are ill, the mean is the median and the spread 1.4826 MAD: disease is an outlier at
its place (design [95]).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vae_loc.preprocessing.robust_fit import SD_PER_MAD
from vae_loc.scoring.healthy_modes import principal_modes, without_modes
from vae_loc.scoring.normalised_maps import SIGNED, Feature, Features, Moments, at_place, mean_and_sd, moments
from vae_loc.system.array_store import ArrayStore
from vae_loc.vocabulary import BoolArray, FloatArray

FOLDS, FOLDS_WITH_MODES = 10, 5  # with modes, each pair of folds is left out once
MIN_OTHERS = 4  # subjects that give a spread by place
MIN_UNSELECTED = 3  # people at a place, of whom a median can be taken
Sums = dict[str, Moments]
Folds = frozenset[int]


@dataclass(frozen=True)
class FoldedBrain:
    """A brain's features, float32 (I, I, I) each, its mask without annotated lesions, and the fold of its subject."""

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
    """Statistics of brains with folds left out.

    Parameters
    ----------
    brains : at least one
    unselected : whether some of them may be ill
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
        unselected: bool = False,
    ) -> None:
        self._brains, self._prior = brains, prior
        self._given, self._count = given or Statistics({}, {}), count
        self._folds = sorted({brain.fold for brain in brains})
        features = brains[0].features
        self._moded = [name for name in SIGNED.values() if name in features and (count or name in self._given.modes)]

        self._gathered = robust if unselected else added
        # healthy folds are left out by subtraction from the sums of all
        self._own: dict[int, Sums] = {}
        for fold in () if unselected else self._folds:
            self._own[fold] = {name: store.kept(sums) for name, sums in self._sums({fold}).items()}
        self._total = added([prior, *self._own.values()]) if self._own else {}
        self._rest: dict[Folds, Sums] = self._rests() if self._moded else {}

    def statistics(self, left_out: Folds = frozenset()) -> Statistics:
        """Return the statistics without some folds: none, or one."""
        left_out = self._possible(left_out)
        usual = self._usual(left_out)
        return Statistics(usual.reference | reference_of(self._rest.get(left_out, {})), usual.modes)

    def _possible(self, left_out: Folds) -> Folds:
        """Return the folds to leave out, or none where the others are too few for a spread."""
        given = min((sums[0].max() for name, sums in self._prior.items() if not name.endswith(".rest")), default=0)
        others = sum(brain.fold not in left_out for brain in self._brains)
        return left_out if given + others >= MIN_OTHERS else frozenset()

    def _sums(self, folds: Container[int]) -> Sums:
        """Return the sums of the brains of some folds."""
        of = (brain for brain in self._brains if brain.fold in folds)
        return self._gathered({str(name): moments(v, brain.mask) for name, v in brain.features.items()} for brain in of)

    def _without(self, left_out: Folds) -> Sums:
        total = self._total or added([self._prior, self._sums(set(self._folds) - left_out)])
        known = {name: sums for name, sums in total.items() if not name.endswith(".rest")}
        for fold in left_out & self._own.keys():
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
        rests: dict[Folds, list[Sums]] = defaultdict(list)
        for left_out in (frozenset({f, g}) for f in self._folds for g in self._folds if f <= g):
            # the modes of a pair serve both folds: each one's rest belongs where the other is left out
            usual = self._usual(self._possible(left_out))
            for fold in left_out:
                sums = (self._rest_sums(usual, brain) for brain in self._brains if brain.fold == fold)
                rests[left_out - {fold}] += [added(sums)] if self._own else sums
        prior = {name: sums for name, sums in self._prior.items() if name.endswith(".rest")}
        return {left_out: added([prior, self._gathered(of)]) for left_out, of in rests.items()}

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


def robust(parts: Iterable[Sums]) -> Sums:
    """Return the sums of as many brains, all of which have the median and 1.4826 MAD by place of these.

    Fewer than `MIN_UNSELECTED` at a place, or half of all, tell nothing there.
    """
    every = list(parts)
    result: Sums = {}
    for name in every[0] if every else ():
        count, values, squares = np.moveaxis(np.stack([part[name] for part in every]), 1, 0)
        known = count.sum(axis=0) >= max(MIN_UNSELECTED, len(every) / 2)
        seen = np.where(count[:, known] > 0, values[:, known], np.nan)
        # the spread inside a pixel, at half of whose size a feature is taken, beside that between people
        inner = _median(np.where(count[:, known] > 0, squares[:, known] - seen**2, np.nan))
        middle = _median(seen)
        spread = SD_PER_MAD * _median(np.abs(seen - middle))
        sums = np.zeros_like(every[0][name])
        sums[:, known] = count[:, known].sum(axis=0) * np.stack(
            [np.ones_like(middle), middle, middle**2 + spread**2 + np.maximum(inner, 0)]
        )
        result[name] = sums
    return result


def _median(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the median over people of (P, N), without NaN: faster than `np.nanmedian`."""
    ordered = np.sort(values, axis=0)
    count = np.count_nonzero(~np.isnan(values), axis=0)
    low, high = (np.take_along_axis(ordered, of[None], axis=0)[0] for of in ((count - 1) // 2, count // 2))
    middle: NDArray[np.float64] = (low + high) / 2
    return middle


def reference_of(sums: Sums) -> dict[str, FloatArray]:
    """Return mean and standard deviation by place of each feature, as rounded as a model keeps them."""
    return {
        f"{name}.{part}": values.astype(np.float16).astype(np.float32)
        for name, of in sums.items()
        for part, values in zip(("mean", "sd"), mean_and_sd(of), strict=True)
    }


def _usual_map(brain: FoldedBrain, name: Feature, reference: dict[str, FloatArray]) -> FloatArray:
    return at_place(brain.features[name], brain.mask, reference[f"{name}.mean"], reference[f"{name}.sd"])
