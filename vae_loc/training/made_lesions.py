"""Lesions made in healthy brains, by which a model learns what a lesion does to its maps (design [98]).

    y    = x' + s (v - x')                       x' = x(p - m (p - o) w(|p - o| / r)): tissue pushed from the centre o
    w(d) = exp(-d^2 / 2) max(1 - d / 2.5, 0)

x are a host's intensities, s the soft share (0 to 1) of an irregular blob of radius r, and v its inside. There are four
kinds of inside, brighter and darker alike:

- shifted: x' + d + texture, d of either sign
- fluid: the darkest or the brightest percent of the host, + 0.3 texture
- foreign: another host's tissue from elsewhere, + 0.3 d
- flat: x' smoothed, + 0.6 d + texture

They stand for no disease in particular, and no lesion of a patient is used. A blob lies inside the brain mask: nothing
is learned of lesions that deform the brain's surface, are left out of the mask, or thin the cortex.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from vae_loc.preprocessing.canonical import BACKGROUND_SD, CLIP_SD, FIELD_OF_VIEW_MM, CanonicalVolume
from vae_loc.preprocessing.regions import depth_mm
from vae_loc.preprocessing.resampling import doubled, low_passed
from vae_loc.vocabulary import BoolArray, FloatArray

LESION_KINDS = {"shifted": 0.45, "fluid": 0.15, "foreign": 0.2, "flat": 0.2}  # and how often each is made
RADIUS_MM = (5.0, 32.0)  # log-uniform
LIFT_SD = (0.4, 2.5)  # of d, in the brain's robust standard deviations
TEXTURE_SD = 0.6  # at most
EDGE_PIXELS = (0.3, 2.2)  # sigma of the soft edge
MIN_MARKED_SHARE = 0.05  # of s; less is 0
INSIDE_SHARE = 0.35  # of s, from which on a pixel is lesion
PUSHED, PUSH = 0.3, (0.2, 0.6)  # share of lesions that push tissue aside, and m
REACH = 2.5  # of the push, in radii
MAX_FOREIGN_OFFSET = 12  # pixels between foreign tissue and its own place


def made_lesion(
    host: CanonicalVolume,
    donor: CanonicalVolume,
    rng: np.random.Generator,
    kinds: Mapping[str, float] = LESION_KINDS,
    *,
    push: tuple[float, float] = PUSH,
) -> tuple[CanonicalVolume, BoolArray]:
    """Return a brain with a lesion, and the lesion's pixels, bool (I, I, I).

    Parameters
    ----------
    host, donor : with their fine intensities; the donor, who may be the host, gives foreign tissue
    kinds : probability of each kind
    push : least and greatest m of lesions that push tissue aside; with 0 and 0 nothing else changes
    """
    # the blob, and the numbers of its equation
    radius = float(np.exp(rng.uniform(*np.log(RADIUS_MM)))) * len(host.mask) / FIELD_OF_VIEW_MM
    share, centre = _blob(host.mask, radius, rng)
    while not (share > INSIDE_SHARE).any():  # the smallest may be blurred away
        share, centre = _blob(host.mask, radius, rng)
    pushing = rng.uniform(*push) if rng.random() < PUSHED else 0.0
    kind = rng.choice(list(kinds), p=list(kinds.values()))
    lift = np.float32(rng.choice([-1, 1]) * rng.uniform(*LIFT_SD))
    texture = _noise(host.mask, rng.uniform(0.8, 3), rng) * np.float32(rng.uniform(0, TEXTURE_SD))
    fluid = np.float32(np.percentile(host.data[host.mask], rng.choice([1, 99])))
    offset = rng.integers(-MAX_FOREIGN_OFFSET, MAX_FOREIGN_OFFSET + 1, 3)

    def laid_into(values: FloatArray, other: FloatArray, mask: BoolArray) -> FloatArray:
        scale = len(mask) // len(share)
        part, rough = (of if scale == 1 else doubled(of, np.ones_like(of, bool)) for of in (share, texture))
        x = _pushed(values, mask, scale * (centre + 0.5) - 0.5, scale * radius, pushing) if pushing else values
        moved = np.roll(other, tuple(scale * offset), (0, 1, 2))
        if kind == "shifted":
            inside = x + lift + rough
        elif kind == "fluid":
            inside = fluid + np.float32(0.3) * rough
        elif kind == "foreign":
            inside = np.where(moved > BACKGROUND_SD, moved + np.float32(0.3) * lift, x)
        else:
            weight, summed = (low_passed(of, (float(scale),) * 3) for of in (mask.astype(np.float32), x * mask))
            inside = summed / np.maximum(weight, np.float32(1e-3)) + np.float32(0.6) * lift + rough
        changed = mask & ((part > 0) | (x != values))
        return np.where(changed, np.clip(x + part * (inside - x), *CLIP_SD), values).astype(np.float32)

    halved = host.halved
    data, fine = laid_into(host.data, donor.data, host.mask), laid_into(halved.data, donor.halved.data, halved.mask)
    return replace(host, data=data, fine=fine), share > INSIDE_SHARE


def _blob(mask: BoolArray, radius: float, rng: np.random.Generator) -> tuple[FloatArray, NDArray[np.int64]]:
    """Return the soft share of an irregular ellipsoid of a radius in pixels, and its centre, away from the surface."""
    depth = depth_mm(mask, 1.0)
    places = np.argwhere(mask & (depth >= min(0.6 * radius, 3.0, float(depth.max()))))
    centre: NDArray[np.int64] = places[rng.integers(len(places))]
    axes = np.linalg.qr(rng.normal(size=(3, 3)))[0] / (radius * np.exp(rng.normal(0, 0.35, (3, 1))))
    away = np.tensordot(axes, np.indices(mask.shape) - centre[:, None, None, None], 1)
    reach = 1 + rng.uniform(0.1, 0.4) * _noise(mask, rng.uniform(1, 4), rng)
    blob = ((np.linalg.norm(away, axis=0) < reach) & mask).astype(np.float32)
    share = np.minimum(low_passed(blob, (rng.uniform(*EDGE_PIXELS),) * 3) * np.float32(rng.uniform(1, 1.6)), 1) * mask
    return np.where(share < MIN_MARKED_SHARE, np.float32(0), share), centre


def _pushed(
    values: FloatArray, mask: BoolArray, centre: NDArray[np.floating], radius: float, push: float
) -> FloatArray:
    """Return intensities whose tissue is pushed from a centre: linear interpolation among brain pixels."""
    from scipy import ndimage

    places = np.indices(mask.shape, dtype=np.float32)
    away = places - centre.astype(np.float32)[:, None, None, None]
    distance = np.linalg.norm(away, axis=0) / radius
    source = places - push * np.exp(-(distance**2) / 2) * np.maximum(1 - distance / REACH, 0) * away
    weight, summed = (ndimage.map_coordinates(of, source, order=1) for of in (mask.astype(np.float32), values * mask))
    moved = mask & (distance < REACH) & (weight > 0.5)
    return np.where(moved, summed / np.maximum(weight, 0.5), values).astype(np.float32)


def _noise(mask: BoolArray, sigma: float, rng: np.random.Generator) -> FloatArray:
    """Return smooth noise of standard deviation 1 on the grid of a mask; sigma in pixels."""
    noise = low_passed(rng.standard_normal(mask.shape, dtype=np.float32), (sigma,) * 3)
    result: FloatArray = noise / noise.std()
    return result
