"""Candidates for findings in a map, and the number of candidates of that strength in healthy people (design [74]).

A candidate is a connected region (26-connected) on the canonical grid in which the map is beyond its `extent`, with one
sign. Parts that exceed `DIVIDING` times the extent and are joined by lower values alone are candidates of their own,
divided where the map is lowest between them. The strength of a candidate is the map's greatest magnitude p in it; of
Combi, where a judge has learned lesions in real scans, it depends on the learned map's greatest value l in it too:

    s = p^(1 - `LIKENESS_POWER`) (`LIKENESS_UNIT` l)^`LIKENESS_POWER`           (design [99])

Healthy scans have candidates too. The expected number of candidates per healthy scan that are stronger than s,

    N(s) = N(u) exp(-(s - u) / m),   m = mean of s' - u over the healthy strengths s' > u,

is counted for s up to u, where N(u) = 1, and fitted beyond: else 0.1 per scan would be read off a handful of people.
No number is stated below one per real and ordinary scan: the fit says where such findings begin, not how rare they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from vae_loc.model.facts import Facts, HealthyFindings, Kind, rounded
from vae_loc.preprocessing.regions import bounding_box, components, flooded_from
from vae_loc.vocabulary import FloatArray, Method

Sign = Literal["brighter", "darker"]
EXTENT_FPR = 0.02  # share of healthy voxels beyond the extent
EXTENT_FPRS = {"flair": 0.005}  # where another is better: what is small and bright is blurred far beyond its border
DIVIDING = 1.5  # of the extent, that two candidates exceed on both sides of what joins them
TIGHT_SHARES = {"flair": 0.25}  # of a small candidate's strength, below which a voxel is its blurred border
TIGHT_ML, WIDE_ML = 10.0, 40.0  # volumes above that share: cut so up to the one, at the extent from the other
KEPT_STRENGTHS = 8  # of a healthy scan, strongest first
MIN_TELLING = 5  # real and ordinary scans, from which on the strengths of simulated ones no longer count
STRENGTH_RESAMPLES = 1000  # of the bootstrap
LIKENESS_POWER, LIKENESS_UNIT = 0.35, 3.15  # of the learned map; the unit gives it Combi's scale
TAIL_FROM = 1.0  # findings a healthy scan, beyond which the tail is fitted


@dataclass(frozen=True)
class Candidate:
    """A connected part of a signed map: its number in the label array, its sign and its strength."""

    label: int
    sign: Sign
    strength: float


def extent_fpr(contrast: str) -> float:
    """Return the share of healthy voxels beyond the extent of findings in a contrast."""
    return EXTENT_FPRS.get(contrast, EXTENT_FPR)


def known_findings(facts: Facts, method: Method, *, bare: bool = False) -> HealthyFindings | None:
    """Return the findings of a map in the model's healthy scans; None of bare scores, and where there are none."""
    return None if bare or facts.healthy is None else facts.healthy.findings.get(method)


def candidates_of(
    signed: FloatArray, extent: float, *, least: float = 0.0, likeness: FloatArray | None = None
) -> tuple[NDArray[np.int32], list[Candidate]]:
    """Return the candidates of a signed map, and their labels, int32 (I, I, I), 0 where none.

    Parameters
    ----------
    signed : float32 (I, I, I), > 0 where brighter than expected
    least : strength that a part must exceed to be a candidate of its own beside one that it is joined to
    likeness : float32 (I, I, I), magnitudes of the learned map, where they count for the strengths
    """
    labels: NDArray[np.int32] = np.zeros(signed.shape, dtype=np.int32)
    candidates: list[Candidate] = []
    signs: tuple[tuple[Sign, FloatArray], ...] = (("brighter", signed), ("darker", -signed))
    for sign, magnitude in signs:
        numbers = _divided(components(magnitude > extent), magnitude, DIVIDING * extent, least, likeness)
        inside = numbers > 0
        strengths = _strengths(numbers, magnitude, likeness)
        first = len(candidates)
        labels[inside] = numbers[inside] + first
        candidates += [Candidate(first + number, sign, float(of)) for number, of in enumerate(strengths) if number]
    return labels, candidates


def strength_of(peak: FloatArray, likeness: FloatArray) -> FloatArray:
    """Return the strengths of candidates by their peaks in Combi and in the learned map, float32 (N,) each."""
    return peak ** (1 - LIKENESS_POWER) * (LIKENESS_UNIT * likeness) ** LIKENESS_POWER


def _strengths(numbers: NDArray[np.int32], magnitude: FloatArray, likeness: FloatArray | None) -> FloatArray:
    """Return the strength of each number, float32 (N + 1,)."""
    peaks = _peaks(numbers, magnitude)
    return peaks if likeness is None else strength_of(peaks, _peaks(numbers, likeness))


def _peaks(numbers: NDArray[np.int32], magnitude: FloatArray) -> FloatArray:
    """Return the greatest magnitude at each number, float32 (N + 1,)."""
    inside = numbers > 0
    peaks = np.zeros(int(numbers.max()) + 1, dtype=np.float32)
    np.maximum.at(peaks, numbers[inside], magnitude[inside])
    return peaks


def _divided(
    numbers: NDArray[np.int32], magnitude: FloatArray, core: float, least: float, likeness: FloatArray | None
) -> NDArray[np.int32]:
    """Return the numbers of components; one with several parts above `core`, stronger than `least`, is divided."""
    # the parts above the core that are strong enough, and the component that each lies in
    cores = components(magnitude > core)
    cores[_strengths(cores, magnitude, likeness)[cores] <= least] = 0
    owners = np.zeros(int(cores.max()) + 1, dtype=np.int32)
    inside = cores > 0
    owners[cores[inside]] = numbers[inside]
    several = np.flatnonzero(np.bincount(owners[owners > 0], minlength=1) > 1)
    if not len(several):
        return numbers
    # floods rise from the parts and meet where the map is lowest; other components keep their number
    mask = np.isin(numbers, several)
    box = bounding_box(mask)
    flooded = flooded_from(cores[box], np.where(mask, -magnitude, np.float32(0))[box]) * mask[box]
    used = np.bincount(flooded.ravel()) > 0
    used[0] = False
    numbers[mask] = 0
    numbers[box] += np.where(used, int(numbers.max()) + np.cumsum(used), 0).astype(np.int32)[flooded]
    return numbers


def cut_for(pixel_mm: float, extent: float, contrast: str, values: FloatArray) -> float:
    """Return the value that a candidate's voxels must exceed: its extent, or more where it is small and strong.

    cut = max(extent, t w s),   w = log(V / `WIDE_ML`) / log(`TIGHT_ML` / `WIDE_ML`), 0 to 1

    s is its strength, t the contrast's share (`TIGHT_SHARES`), V its volume above t s in ml. The map gathers evidence
    over 14 mm: around what is small it falls off slowly (design [96]).

    Parameters
    ----------
    values : float32 (N,), magnitudes of the map at the candidate's pixels
    """
    share = TIGHT_SHARES.get(contrast, 0.0) * float(values.max())
    volume_ml = max(1, int(np.count_nonzero(values > max(extent, share)))) * pixel_mm**3 / 1000
    weight = np.log(volume_ml / WIDE_ML) / np.log(TIGHT_ML / WIDE_ML)
    return max(extent, share * float(np.clip(weight, 0, 1)))


def strengths_of(signed: FloatArray, extent: float, likeness: FloatArray | None = None) -> list[float]:
    """Return the strengths of a map's candidates, strongest first."""
    _, candidates = candidates_of(signed, extent, likeness=likeness)
    return sorted((candidate.strength for candidate in candidates), reverse=True)


def healthy_findings(
    extent: float,
    strengths: Sequence[Sequence[float]],
    known: HealthyFindings | None,
    *,
    prior_weight: float,
    kind: Kind = "real",
) -> HealthyFindings:
    """Return the findings of a map in healthy scans.

    Parameters
    ----------
    strengths : of each scan, strongest first
    known : what was known of healthy people elsewhere; counts as `prior_weight` scans of this site
    kind : of the scans that `strengths` are of
    """
    kept = [[rounded(strength) for strength in scan[:KEPT_STRENGTHS]] for scan in strengths]
    weights, kinds = [1.0] * len(kept), [kind] * len(kept)
    if known is not None:
        share = min(1.0, prior_weight / sum(known.weights))
        kept += known.strengths
        kinds += known.kinds
        weights += [rounded(share * weight) for weight in known.weights]
    return HealthyFindings(extent=extent, strengths=kept, weights=weights, kinds=kinds)


def false_findings(healthy: HealthyFindings, strength: float) -> float:
    """Return the expected number of candidates of this strength or more in one healthy scan, at most.

    It is never below one per real and ordinary scan.
    """
    tail = _tail(healthy)
    if strength >= tail.start:
        expected = tail.rate * float(np.exp(-(strength - tail.start) / tail.mean))
    else:
        stronger = int(np.count_nonzero(tail.values > strength))
        expected = float(tail.counted[stronger - 1]) if stronger else 0.0
    return max(expected, 1 / told_by(healthy))


def strength_for(healthy: HealthyFindings, expected: float) -> float:
    """Return the strength beyond which a healthy scan is expected to have `expected` candidates."""
    tail = _tail(healthy)
    if expected < tail.rate:
        return tail.start + tail.mean * float(np.log(tail.rate / expected))
    if not len(tail.counted) or expected > tail.counted[-1]:
        return healthy.extent
    return float(tail.values[int(np.searchsorted(tail.counted, expected))])


def told_by(healthy: HealthyFindings) -> int:
    """Return how many scans tell how rare a candidate is: the real and ordinary ones, else the simulated ones."""
    return sum(kind != "simulated" for kind in healthy.kinds) or len(healthy.strengths)


def as_strong(healthy: HealthyFindings | None, strength: float, kind: Kind) -> tuple[int, int] | tuple[None, None]:
    """Return how many scans of a kind have a candidate of this strength or more, and of how many; None without any."""
    known = [] if healthy is None else zip(healthy.strengths, healthy.kinds, strict=True)
    scans = [strengths for strengths, of in known if of == kind]
    return (sum(bool(of) and of[0] >= strength for of in scans), len(scans)) if scans else (None, None)


def strength_interval(healthy: HealthyFindings, expected: float, *, seed: int = 0) -> tuple[float, float]:
    """Return the 95 % interval of `strength_for`: quantiles of a bootstrap over the healthy scans."""
    rng, levels = np.random.default_rng(seed), []
    telling = _telling(healthy)
    for _ in range(STRENGTH_RESAMPLES):
        drawn = [telling[place] for place in rng.integers(len(telling), size=len(telling))]
        scans, weights = zip(*drawn, strict=True)
        of = {"strengths": scans, "weights": weights, "kinds": ["real"] * len(drawn)}
        levels.append(strength_for(healthy.model_copy(update=of), expected))
    low, high = np.quantile(levels, (0.025, 0.975))
    return float(low), float(high)


@dataclass(frozen=True)
class _Tail:
    """The strengths of healthy scans, strongest first, and the exponential that goes on where they are few.

    values : float64 (N,)
    counted : float64 (N,), how many per scan are at least as strong as each
    start, rate, mean : where the exponential begins, how many per scan are stronger, and their mean excess
    """

    values: NDArray[np.float64]
    counted: NDArray[np.float64]
    start: float
    rate: float
    mean: float


def _telling(healthy: HealthyFindings) -> list[tuple[list[float], float]]:
    """Return the strengths and weights of the scans that tell: not the simulated ones, where others are enough."""
    every = list(zip(healthy.strengths, healthy.weights, strict=True))
    others = [scan for scan, kind in zip(every, healthy.kinds, strict=True) if kind != "simulated"]
    return others if len(others) >= MIN_TELLING else every


def _tail(healthy: HealthyFindings) -> _Tail:
    scans = _telling(healthy)
    total = sum(weight for _, weight in scans)
    pairs = sorted(((strength, weight) for scan, weight in scans for strength in scan), reverse=True)
    values, weights = np.array(pairs, dtype=np.float64).reshape(-1, 2).T
    counted = np.cumsum(weights) / total
    first = int(np.searchsorted(counted, TAIL_FROM))
    start = float(values[first]) if first < len(values) else healthy.extent
    beyond = values > start
    mean = float(np.average(values[beyond] - start, weights=weights[beyond])) if beyond.any() else healthy.extent
    rate = float(weights[beyond].sum() / total)
    return _Tail(values, counted, start, rate, mean)
