"""Anomaly map -> findings: numbered, described, marked on the scan's own grid (design [74])."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from vae_loc.model.facts import SCAN_KINDS, HealthyFindings
from vae_loc.model.network import Model
from vae_loc.preprocessing.canonical import FIELD_OF_VIEW_MM
from vae_loc.preprocessing.regions import components, highest_near
from vae_loc.scoring.anatomy import ELSEWHERE, Labels, Place, labels_for, place_of, regions
from vae_loc.scoring.finding_flags import Flags, Indices, scene_of
from vae_loc.scoring.finding_model import Finding, Measures, measures
from vae_loc.scoring.findings import (
    Sign,
    as_strong,
    candidates_of,
    cut_for,
    false_findings,
    known_findings,
    strength_of,
)
from vae_loc.scoring.locate import Located
from vae_loc.scoring.score_options import Rule, Segmentation
from vae_loc.vocabulary import BoolArray, FloatArray, Method

LARGE_ML = 20.0  # beyond which a finding may spread over several regions that are worth a name
ROUNDING = 1e-6  # of a voxel: a finding of exactly the smallest size is kept
Voxels = NDArray[np.intp]  # (N, 3), indices of the scan's own grid
Numbers = NDArray[np.unsignedinteger]  # (I, J, K), the number of each voxel's finding, 0 where none


@dataclass(frozen=True)
class SegmentedMap:
    """The findings of one map, strongest first, and their numbers, uint8 or uint16 (I, J, K) on the scan's own grid."""

    numbers: Numbers
    findings: tuple[Finding, ...]
    rule: Rule

    @property
    def mask(self) -> BoolArray:
        """The voxels of all findings, bool (I, J, K)."""
        return self.numbers > 0

    def __repr__(self) -> str:
        """Return one line: how many findings there are, and by which rule."""
        return f"<SegmentedMap: {len(self.findings)} findings, {self.rule.source}>"


def segment(located: Located, model: Model, method: Method, segmentation: Segmentation) -> SegmentedMap:
    """Return the findings of a map.

    Raises
    ------
    UnusableModel : if the rule needs healthy statistics that the model lacks.
    """
    rule = segmentation.rule(model, method, bare=located.bare)
    heat, signed = located.maps[method], located.signed_maps[method]
    likeness = located.likeness if method == "combi" else None
    # voxels beyond the threshold, grouped into parts
    at = _indices((heat > rule.threshold) & located.brain)
    voxels, pixels = np.stack(at, axis=1), _nearest_pixels(located, method, at)
    if rule.min_strength:
        cut = partial(cut_for, located.frame(method).grid.pixel_mm, rule.threshold, model.facts.contrast)
        parts = _of_candidates(signed, pixels, heat[at], rule, cut, likeness)
    else:
        near = None if likeness is None else likeness[pixels]
        parts = _connected(voxels, heat, bright=signed[pixels] > 0, likeness=near)
    # those that are large enough, strongest first
    min_voxels = segmentation.min_size_mm3 / located.volume.voxel_mm3 - ROUNDING
    kept = sorted((part for part in parts if np.count_nonzero(part.inside) >= min_voxels), key=lambda p: -p.strength)
    numbers: Numbers = np.zeros(heat.shape, dtype=np.uint8 if len(kept) < 256 else np.uint16, order="F")
    healthy = known_findings(model.facts, method, bare=located.bare)
    labels = _labels(model)
    scene = None if labels is None or not kept else scene_of(signed, located.canonical, labels, model.facts.contrast)
    # each numbered in the image and described
    findings = []
    for number, part in enumerate(kept, start=1):
        own = voxels[part.inside]
        numbers[tuple(own.T)] = number
        at = tuple(axis[part.inside] for axis in pixels)
        place = None if labels is None else _place(at, signed.shape, labels)
        flags = Flags() if scene is None else scene.flags(at, bright=part.sign == "brighter")
        peak = own[int(heat[tuple(own.T)].argmax())]
        measured = measures(own, peak, located.volume)
        found = _described(number, part, measured, place, flags, healthy, model.facts.contrast)
        image_number, image_uid = located.volume.images.get(int(peak[2]), (None, None))
        findings.append(found.model_copy(update={"image_number": image_number, "image_uid": image_uid}))
    return SegmentedMap(numbers, tuple(findings), rule)


def signed_on_grid(located: Located, method: Method, *, beyond: float) -> FloatArray:
    """Return a map on the scan's own grid with its sign, float32 (I, J, K), where it is beyond a value; 0 elsewhere."""
    heat = located.maps[method]
    at = _indices(heat > beyond)
    signed: FloatArray = np.zeros_like(heat)
    signed[at] = np.copysign(heat[at], located.signed_maps[method][_nearest_pixels(located, method, at)])
    return signed


def regions_ml(located: Located, model: Model, method: Method, mask: BoolArray) -> dict[str, float] | None:
    """Return the marked volume in ml in each region of the atlas that has any, and `ELSEWHERE`; None without an atlas.

    Parameters
    ----------
    mask : bool (I, J, K) on the scan's own grid
    """
    labels = _labels(model)
    if labels is None:
        return None
    finer = located.signed_maps[method].shape[0] // len(labels)
    pixels = _nearest_pixels(located, method, _indices(mask))
    counts = np.bincount(labels[tuple(axis // finer for axis in pixels)])
    named = {index: regions()[index].words if index else ELSEWHERE for index in np.flatnonzero(counts).tolist()}
    return {name: float(counts[index]) * located.volume.voxel_mm3 / 1000 for index, name in named.items()}


@dataclass(frozen=True)
class _Part:
    """A part of the voxels beyond a threshold: its sign, which of them it holds, bool (N,), and its strength."""

    sign: Sign
    inside: BoolArray
    strength: float


def _indices(mask: BoolArray) -> Indices:
    """Return the indices of the voxels of a mask (I, J, K), in the order of NIfTI: three arrays (N,)."""
    return np.unravel_index(np.flatnonzero(mask.T), mask.T.shape)[::-1]


def _nearest_pixels(located: Located, method: Method, voxels: Indices) -> Indices:
    """Return the pixel of a signed map nearest to each voxel: indices, three arrays (N,) each."""
    grid = located.frame(method).grid
    voxel2pixel = np.linalg.inv(grid.affine) @ located.volume.affine
    i, j, k = voxels
    pixels = (np.rint(a * i + b * j + c * k + shift).astype(np.intp) for a, b, c, shift in voxel2pixel[:3])
    return tuple(np.clip(of, 0, grid.shape[0] - 1) for of in pixels)


def _of_candidates(
    signed: FloatArray,
    pixels: Indices,
    values: FloatArray,
    rule: Rule,
    cut: Callable[[FloatArray], float],
    likeness: FloatArray | None,
) -> list[_Part]:
    """Return the candidates that are strong enough, as parts of the voxels whose nearest pixels and values are given.

    A voxel belongs to the candidate of its nearest pixel, or of a pixel beside that one: the map between two pixels
    can be beyond the threshold where the nearer one is not. What is small and strong is cut as `cut_for` says.
    """
    labels, candidates = candidates_of(signed, rule.threshold, least=rule.min_strength, likeness=likeness)
    strong = [candidate for candidate in candidates if candidate.strength > rule.min_strength]
    kept = np.where(np.isin(labels, [candidate.label for candidate in strong]), labels, 0)
    owner = np.where(kept > 0, kept, highest_near(kept, 1))[pixels]
    bright = signed[pixels] > 0
    parts = []
    for of in strong:
        beyond = values > cut(np.abs(signed[labels == of.label]))
        inside = (owner == of.label) & (bright == (of.sign == "brighter")) & beyond
        parts.append(_Part(of.sign, inside, of.strength))
    return parts


def _connected(voxels: Voxels, heat: FloatArray, *, bright: BoolArray, likeness: FloatArray | None) -> list[_Part]:
    """Return the 26-connected parts of voxels (N, 3) that are all bright, or all dark.

    Parameters
    ----------
    bright, likeness : bool and float32 (N,)
    """
    parts = []
    signs: tuple[Sign, Sign] = ("brighter", "darker")
    values = heat[tuple(voxels.T)]
    for sign in signs:
        mask = np.zeros(heat.shape, dtype=bool)
        mask[tuple(voxels[bright == (sign == "brighter")].T)] = True
        labels = components(mask)[tuple(voxels.T)]
        for label in range(1, int(labels.max(initial=0)) + 1):
            inside = labels == label
            peak = values[inside].max()
            strength = peak if likeness is None else strength_of(peak, likeness[inside].max())
            parts.append(_Part(sign, inside, float(strength)))
    return parts


def _labels(model: Model) -> Labels | None:
    """Return the atlas on the canonical grid; None for a model without a mean brain."""
    template = model.reference.get("template")
    return None if template is None else labels_for(template, FIELD_OF_VIEW_MM / len(template))


def _place(at: tuple[NDArray[np.intp], ...], shape: tuple[int, ...], atlas: Labels) -> Place | None:
    """Return the place of canonical pixels."""
    finer = shape[0] // len(atlas)  # than the atlas: 1, or 2 at half the pixel
    pixels = np.zeros(atlas.shape, dtype=bool)
    pixels[tuple(axis // finer for axis in at)] = True
    return place_of(pixels, atlas)


def _described(
    number: int,
    part: _Part,
    measured: Measures,
    place: Place | None,
    flags: Flags,
    healthy: HealthyFindings | None,
    contrast: str,
) -> Finding:
    """Return the description of a finding by the contrast's scans that it is compared with."""
    real, simulated, ordinary = (as_strong(healthy, part.strength, kind) for kind in SCAN_KINDS)
    return Finding(
        number=number,
        sign=part.sign,
        strength=part.strength,
        contrast=contrast,
        real_as_strong=real[0],
        real_scans=real[1],
        simulated_as_strong=simulated[0],
        simulated_scans=simulated[1],
        ordinary_as_strong=ordinary[0],
        ordinary_scans=ordinary[1],
        false_findings=None if healthy is None else false_findings(healthy, part.strength),
        side=place.side if place else None,
        lobe=place.lobe if place else None,
        region=place.region if place else None,
        region_share=place.share if place else None,
        other_regions=place.others if place is not None and measured["volume_ml"] > LARGE_ML else None,
        symmetric=flags.symmetric,
        fluid=flags.fluid,
        edge=flags.edge,
        **measured,
    )
