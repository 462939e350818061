"""Lesions transplanted into healthy brains, for `findings.py`, `persons.py` and `ablation.py`.

A patient's glioma, a hole filled with fluid, a small faint spot.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy import ndimage

from vae_loc.model.network import Model
from vae_loc.preprocessing.canonical import CanonicalVolume, onto_grid
from vae_loc.preprocessing.open_scan import open_scan
from vae_loc.preprocessing.resampling import doubled, doubled_mask
from vae_loc.scans.cases import Case, find_cases
from vae_loc.scans.volume import read_labels
from vae_loc.scoring.aligned_scan import canonical_of
from vae_loc.scoring.smoothing import smoothed
from vae_loc.vocabulary import BoolArray, FloatArray

KINDS = ("glioma", "hole", "spot")
FLUID_SD = {"t1": -2.8, "t2": 2.8, "flair": -2.2}  # robust standard deviations from the brain's median
SPOT_SD = {"t1": -1.5, "t2": 2.0, "flair": 2.0}
MIN_PIXELS = 4  # of 3 mm; a smaller lesion is left out
Body = Callable[[CanonicalVolume], tuple[FloatArray, ...]]  # of a brain: what a lesion in it looks like, both grids


@dataclass(frozen=True)
class Glioma:
    """A patient on the canonical grid, and where the lesion is, there and at half the pixel."""

    canonical: CanonicalVolume
    lesion: BoolArray
    fine_lesion: BoolArray


def cases_in(folder: Path, contrast: str) -> list[Case]:
    """Return the scans of a contrast in a folder."""
    return [case for file in sorted(folder.glob(f"*_{contrast}.nii.gz")) for case in find_cases([file])]


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


def lesions_in(
    host: CanonicalVolume, glioma: Glioma, contrast: str, rng: np.random.Generator
) -> Iterator[tuple[str, CanonicalVolume, BoolArray]]:
    """Yield a brain with each kind of lesion: the kind, the brain, and where the lesion is at half the pixel."""
    mask, patient = host.mask, glioma.canonical
    hole, spot = blob(mask, rng.uniform(9, 22), rng), blob(mask, rng.uniform(4, 8), rng)
    lift = SPOT_SD[contrast] * rng.uniform(0.8, 1.5)
    fluid = np.float32(FLUID_SD[contrast] + rng.normal(0, 0.3))
    bodies: tuple[tuple[str, BoolArray, Body], ...] = (
        ("glioma", glioma.lesion & mask & patient.mask, lambda _: (patient.data, patient.fine)),
        ("hole", hole, lambda own: (np.full_like(own.data, fluid), np.full_like(own.fine, fluid))),
        ("spot", spot, lambda own: tuple(np.clip(x + np.float32(lift), -3.5, 6) for x in (own.data, own.fine))),
    )
    for kind, inside, body in bodies:
        if inside.sum() >= MIN_PIXELS:
            yield kind, blended(host, *body(host), inside), doubled_mask(inside)


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
    finer = host.fine + doubled(share, host.mask) * doubled_mask(inside) * (fine - host.fine)
    return replace(host, data=data.astype(np.float32), fine=finer.astype(np.float32))
