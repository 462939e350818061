"""Findings of several contrasts, brought to one grid -> the findings of the person (design [83]).

Scans of one session share the scanner's coordinates, so a point has the same RAS mm in each, unless the person moved or
a header is wrong. Where both scans were aligned to the mean brain, the alignments show by how much.

With m contrasts, a finding of one of them counts if a healthy scan is expected to have f / m as strong, or 1 / n if
this is more, n being the scans that tell it. The expected number per healthy person is then at most the sum over the
contrasts, however much their maps depend on each other.
Findings that share a voxel are one finding of the person. Of its voxels those count in which

    sqrt(mean over the contrasts of (map / extent)^2) > 1,

a contrast's extent being what 2 % of healthy voxels exceed: the maps of all contrasts together draw the border.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from vae_loc.preprocessing.pose import Affine
from vae_loc.preprocessing.resampling import interpolated
from vae_loc.scans.nifti import affine_mm, corners_apart, read_image
from vae_loc.scans.volume import Volume
from vae_loc.scoring.finding_model import Finding, PersonFinding, SeenSummary, measures, one_in, sentence
from vae_loc.vocabulary import BoolArray, FloatArray

MAX_OFF_MM = 5.0  # median over the brain; one person's scans differ by 0.6 to 1.4 mm (docs/measured/persons.md)
SAME_GRID_MM = 1e-3  # corners nearer than this are those of one grid
EVERY = 4  # one of so many voxels along each axis shows how far two alignments are apart


@dataclass(frozen=True)
class Seen:
    """A finding of one contrast that counts for the person.

    Attributes
    ----------
    contrast : in which it was found
    row : the finding in the scan's own table
    false_findings : how many as strong a healthy scan is expected to have
    inside : bool (I, J, K) on the person's grid
    """

    contrast: str
    row: Finding
    false_findings: float
    inside: BoolArray

    def rank(self) -> tuple[float, float]:
        """Return the key of the findings' order: the rarest in healthy scans first, then the strongest."""
        return self.false_findings, -self.row.strength


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


def shares(rates: Mapping[str, tuple[float, int]]) -> dict[str, float]:
    """Return how many false findings each contrast may contribute, from its own rate and the scans that tell it."""
    even = min(rate for rate, _ in rates.values()) / len(rates)
    return {contrast: max(even, 1 / told_by) for contrast, (_, told_by) in rates.items()}


def merged(seen: Sequence[Seen], heat: FloatArray, contrasts: int) -> list[Merged]:
    """Return the findings of a person, strongest first; two that share a voxel are parts of the same one.

    Parameters
    ----------
    seen : the findings that count; those without a voxel on the person's grid are left out
    heat : float32 (I, J, K), the map that `person_map` returned
    contrasts : how many were looked at, with findings or without
    """
    groups: list[list[Seen]] = []
    for one in seen:
        apart, joined = [], [one] if one.inside.any() else []
        for group in groups:
            if any((one.inside & other.inside).any() for other in group):
                joined += group
            else:
                apart.append(group)
        groups = [*apart, joined] if joined else apart
    found = []
    for group in groups:
        ordered = tuple(sorted(group, key=Seen.rank))
        either: BoolArray = np.logical_or.reduce([one.inside for one in ordered])
        inside = either & (heat > 1)
        found.append(Merged(ordered, inside if inside.any() else either, contrasts * ordered[0].false_findings))
    return sorted(found, key=lambda one: one.seen[0].rank())


def described(number: int, one: Merged, heat: FloatArray, grid: Volume) -> PersonFinding:
    """Return a finding of a person with its place, which is that of the contrast where it is strongest.

    Parameters
    ----------
    heat : float32 (I, J, K), the person's map, on `grid`
    """
    seen = [
        SeenSummary(
            contrast=of.contrast,
            finding=of.row.number,
            sign=of.row.sign,
            strength=of.row.strength,
            false_findings=of.false_findings,
        )
        for of in one.seen
    ]
    voxels = np.argwhere(one.inside)
    measured = measures(voxels, voxels[int(heat[one.inside].argmax())], grid)
    contrasts: dict[str, dict[str, None]] = {}  # by sign, in the order of their strength, each once
    for of in seen:
        contrasts.setdefault(of.sign, {})[of.contrast] = None
    looks = ", ".join(f"{sign} in {' and '.join(names)}" for sign, names in contrasts.items())
    first, rate = one.seen[0].row, one.false_findings
    words = sentence(measured["volume_ml"], looks, first.place_words, f"slice {measured['peak_slice']}")
    return PersonFinding(
        number=number,
        seen=seen,
        false_findings=rate,
        side=first.side,
        lobe=first.lobe,
        region=first.region,
        words=f"{words}; at most {one_in(rate)} healthy people have one as strong",
        **measured,
    )


def read_output(path: Path) -> Volume:
    """Return a map or numbered mask that was written for a scan; unlike a scan it may be of one value.

    Raises
    ------
    UnusableInput : if it is missing or damaged.
    """
    header, stored = read_image(path, lambda _: 0, may_be_sparse=True)
    return Volume(np.asarray(stored, dtype=np.float32), affine_mm(path, header)[0], header, path)


def first2other_mm(
    first_map: Volume, first_template2ras_mm: ArrayLike | None, other_template2ras_mm: ArrayLike | None
) -> tuple[Affine, float | None]:
    """Return the affine from RAS mm of a person's first scan to those of another, and how far both are apart in mm.

    Parameters
    ----------
    first_map : a map of the first scan, > 0 in its brain
    first_template2ras_mm, other_template2ras_mm : where the mean brain lies in each scan; None where it is not known

    Returns
    -------
    The identity where both alignments agree within `MAX_OFF_MM`, or where one is not known; else the way through the
    mean brain. The distance is the median over the brain, None where an alignment is not known.
    """
    if first_template2ras_mm is None or other_template2ras_mm is None:
        return np.eye(4), None
    through_template: Affine = np.asarray(other_template2ras_mm) @ np.linalg.inv(np.asarray(first_template2ras_mm))
    voxels = np.argwhere(first_map.data[::EVERY, ::EVERY, ::EVERY] > 0) * EVERY
    points = voxels @ first_map.affine[:3, :3].T + first_map.affine[:3, 3]
    moved = points @ through_template[:3, :3].T + through_template[:3, 3]
    off_mm = float(np.median(np.linalg.norm(moved - points, axis=1))) if len(points) else 0.0
    return (np.eye(4) if off_mm <= MAX_OFF_MM else through_template), off_mm


def on_grid_of(first: Volume, values: FloatArray, affine: Affine, way_mm: Affine) -> FloatArray:
    """Return an array of another scan on the grid of the first: linear interpolation, zero outside.

    Parameters
    ----------
    values : float32, on the other scan's grid, whose indices `affine` maps to RAS mm
    way_mm : the affine that `first2other_mm` returned
    """
    first2other = np.linalg.inv(affine) @ way_mm @ first.affine
    if values.shape == first.data.shape and corners_apart(first2other, np.eye(4), values.shape) <= SAME_GRID_MM:
        return values
    return interpolated(values, first2other, first.data.shape)
