"""Lesions transplanted into healthy brains, for `findings.py`, `persons.py` and `ablation.py`.

A patient's glioma, a hole filled with fluid, a small faint spot, and what is large and faint.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy import ndimage

from benchmarks.cohorts import cases_in
from vae_loc.model.network import Model
from vae_loc.preprocessing.canonical import CanonicalVolume, onto_grid
from vae_loc.preprocessing.open_scan import open_scan
from vae_loc.preprocessing.resampling import doubled, doubled_mask
from vae_loc.preprocessing.smoothing import smoothed
from vae_loc.scans.volume import read_labels
from vae_loc.scoring.aligned_scan import canonical_of
from vae_loc.vocabulary import BoolArray, FloatArray

KINDS = ("glioma", "hole", "spot", "faint")
FLUID_SD = {"t1": -2.8, "t2": 2.8, "flair": -2.2}  # robust standard deviations from the brain's median
SPOT_SD = {"t1": -1.5, "t2": 2.0, "flair": 2.0}
MIN_PIXELS = 4  # of 3 mm; a smaller lesion is left out
Pixels = tuple[FloatArray, FloatArray]  # intensities of a brain, and those at half the pixel


@dataclass(frozen=True)
class Glioma:
    """A patient on the canonical grid, and where the lesion is, there and at half the pixel."""

    canonical: CanonicalVolume
    lesion: BoolArray
    fine_lesion: BoolArray


def gliomas_of(model: Model, shared: Path) -> list[Glioma]:
    """Return the gliomas of a model's contrast."""
    gliomas = []
    for case in cases_in(shared / "gliomas", model.facts.contrast):
        scan = open_scan(case)
        canonical = canonical_of(scan, model)
        truth, _ = read_labels(shared / "gliomas" / f"{case.subject}_seg.nii.gz", scan.volume)
        lesion, fine_lesion = (
            onto_grid(truth.astype(np.float32), scan.volume, scan.brain, grid) > 0.5
            for grid in (canonical.grid, canonical.halved.grid)
        )
        gliomas.append(Glioma(canonical, lesion, fine_lesion))
    return gliomas


@dataclass(frozen=True)
class Placed:
    """A lesion of one brain: its kind, its pixels of 3 mm, and its own part in the intensities but of a glioma."""

    kind: str
    inside: BoolArray
    own: float

    def values(self, contrast: str, host: CanonicalVolume, glioma: Pixels) -> Pixels:
        """Return the intensities of the lesion in a contrast, also at half the pixel; those of a glioma are its own."""
        if self.kind == "glioma":
            return glioma
        if self.kind == "hole":
            fluid = np.float32(FLUID_SD[contrast] + self.own)
            return np.full_like(host.data, fluid), np.full_like(host.halved.data, fluid)
        lift = np.float32(
            SPOT_SD[contrast] * self.own if self.kind == "spot" else np.sign(SPOT_SD[contrast]) * self.own
        )
        return np.clip(host.data + lift, -3.5, 6), np.clip(host.halved.data + lift, -3.5, 6)


def placed(mask: BoolArray, glioma: BoolArray, rng: np.random.Generator) -> list[Placed]:
    """Return a lesion of each kind in a brain, if it has pixels enough."""
    hole, spot = blob(mask, rng.uniform(9, 22), rng), blob(mask, rng.uniform(4, 8), rng)
    lift, noise = rng.uniform(0.8, 1.5), rng.normal(0, 0.3)
    every = [Placed("glioma", glioma & mask, 0.0), Placed("hole", hole, noise), Placed("spot", spot, lift)]
    every.append(Placed("faint", blob(mask, rng.uniform(18, 32), rng), rng.uniform(0.5, 1.2)))
    return [one for one in every if one.inside.sum() >= MIN_PIXELS]


def lesions_in(
    host: CanonicalVolume, glioma: Glioma, contrast: str, rng: np.random.Generator
) -> Iterator[tuple[str, CanonicalVolume, BoolArray]]:
    """Yield a brain with each kind of lesion: the kind, the brain, and where the lesion is at half the pixel."""
    patient = glioma.canonical
    for one in placed(host.mask, glioma.lesion & patient.mask, rng):
        values = one.values(contrast, host, (patient.data, patient.halved.data))
        yield one.kind, blended(host, *values, one.inside), doubled_mask(one.inside)


def blob(mask: BoolArray, radius_mm: float, rng: np.random.Generator) -> BoolArray:
    """Return an irregular ellipsoid in a brain of 3 mm pixels, away from its surface."""
    depth_mm = 3 * ndimage.distance_transform_edt(mask)
    places = np.argwhere(depth_mm > min(radius_mm, 9))
    grid = np.stack(np.meshgrid(*[np.arange(len(mask))] * 3, indexing="ij"), -1) - places[rng.integers(len(places))]
    axes = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    radii = radius_mm / 3 * np.exp(rng.normal(0, 0.2, 3))
    rough = ndimage.gaussian_filter(rng.normal(size=mask.shape), 2)
    inside: BoolArray = (np.linalg.norm((grid @ axes) / radii, axis=-1) < 1 + 0.15 * rough / rough.std()) & mask
    return inside


def blended(host: CanonicalVolume, values: FloatArray, fine: FloatArray, inside: BoolArray) -> CanonicalVolume:
    """Return a brain with other values inside a lesion, whose edge is blended, also at half the pixel."""
    share = smoothed(inside.astype(np.float32), host.mask, host.grid.pixel_mm, host.grid.pixel_mm) * inside
    data = host.data + share * (values - host.data)
    own = host.halved.data
    finer = own + doubled(share, host.mask) * doubled_mask(inside) * (fine - own)
    return replace(host, data=data.astype(np.float32), fine=finer.astype(np.float32))
