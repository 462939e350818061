"""Findings of several contrasts on one grid -> the findings of the person (design [83]).

With m contrasts, a finding of one of them counts if a healthy scan is expected to have f / m as strong. The expected
number per healthy person is then at most the sum over the contrasts, f, however much their maps depend on each other.
Findings that share a voxel are one finding of the person. Of its voxels those count in which

    sqrt(mean over the contrasts of (map / extent)^2) > 1,

a contrast's extent being what 2 % of healthy voxels exceed: the maps of all contrasts together draw the border.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vae_loc.vocabulary import BoolArray, FloatArray


@dataclass(frozen=True)
class Seen:
    """A finding of one contrast that counts for the person.

    Attributes
    ----------
    contrast : in which it was found
    number : its number in the scan's own table
    strength : greatest magnitude of the scan's map in it
    false_findings : how many as strong a healthy scan is expected to have
    inside : bool (I, J, K) on the person's grid
    """

    contrast: str
    number: int
    strength: float
    false_findings: float
    inside: BoolArray


@dataclass(frozen=True)
class Merged:
    """A finding of the person: what each contrast has of it, strongest first, and its voxels, bool (I, J, K).

    false_findings : how many as strong a healthy person is expected to have, at most
    """

    seen: tuple[Seen, ...]
    inside: BoolArray
    false_findings: float


def person_map(maps: Sequence[FloatArray], extents: Sequence[float]) -> FloatArray:
    """Return the map of a person, float32 (I, J, K): the root mean square of maps in units of their extents.

    Parameters
    ----------
    maps : float32 (I, J, K) >= 0 of each contrast, on one grid; 0 outside brain and field of view
    extents : of each contrast, the map's value that 2 % of healthy voxels exceed

    >>> person_map([np.float32([2, 14]), np.float32([3, 3])], [2.0, 3.0]).round(3).tolist()
    [1.0, 5.0]
    """
    squares = np.zeros_like(maps[0])
    for values, extent in zip(maps, extents, strict=True):
        share = values * np.float32(1 / (extent * len(maps) ** 0.5))
        squares += np.square(share, out=share)
    return np.sqrt(squares, out=squares)


def merged(seen: Sequence[Seen], heat: FloatArray, contrasts: int) -> list[Merged]:
    """Return the findings of a person, strongest first.

    Parameters
    ----------
    seen : the findings that count; those without a voxel on the person's grid are left out
    heat : float32 (I, J, K), what `person_map` returned
    contrasts : how many were looked at, with findings or without
    """
    found = []
    for group in _groups([one for one in seen if one.inside.any()]):
        ordered = tuple(sorted(group, key=_rank))
        either: BoolArray = np.logical_or.reduce([one.inside for one in ordered])
        inside = either & (heat > 1)
        found.append(Merged(ordered, inside if inside.any() else either, contrasts * ordered[0].false_findings))
    return sorted(found, key=lambda one: _rank(one.seen[0]))


def _groups(seen: Sequence[Seen]) -> list[list[Seen]]:
    """Return findings in groups: two that share a voxel are in the same one."""
    groups: list[list[Seen]] = []
    for one in seen:
        apart, joined = [], [one]
        for group in groups:
            if any((one.inside & other.inside).any() for other in group):
                joined += group
            else:
                apart.append(group)
        groups = [*apart, joined]
    return groups


def _rank(one: Seen) -> tuple[float, float]:
    """Return what findings are ordered by: the rarest in healthy scans first, then the strongest."""
    return one.false_findings, -one.strength
