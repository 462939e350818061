"""Both registrations on brains that were moved by a known affine, or spoiled: how far off, and how long.

    python -m benchmarks.measured.registration --shared ../shared/data -o docs/measured/registration.md

Moved: healthy T1 of two scanners and gliomas of three contrasts, turned by up to 26 degrees, shifted by up to 15 mm, zoomed
by 0.85 to 1.15 along each axis and sheared, then another curve of intensity, shading and noise. Spoiled: healthy T1 of
which a part is missing or changed. Off: mean distance over brain points from where the untouched brain was put, moved by
the same affine. One thread, seed 0.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import ndimage
from scipy.spatial.transform import Rotation

from benchmarks.cohorts import CONTRASTS
from benchmarks.command import parser_of
from vae_loc.model.checkpoint import find_model, load_checkpoint
from vae_loc.preprocessing.canonical import CanonicalVolume, smooth_brain, to_canonical
from vae_loc.preprocessing.open_scan import open_scan
from vae_loc.preprocessing.registration import align, align_by_itk
from vae_loc.scans.cases import find_cases

WAYS = {
    "gauss-newton": lambda *given: align(*given)[0],  # with the others behind it, where it fits badly
    "itk": align_by_itk,
}
TURN_DEG, SHIFT_MM, ZOOM, SHEAR = 15, 15, 0.15, 0.05  # of each axis
BLOCK = 23  # one of so many brain points is measured
Brain = tuple[np.ndarray, np.ndarray]  # intensities and mask, (N, N, N)
Spoil = Callable[[Brain, np.random.Generator], Brain]


def random_affine(rng: np.random.Generator) -> np.ndarray:
    """Affine in mm about the middle of the cube."""
    affine, shear = np.eye(4), np.eye(3)
    shear[0, 1], shear[0, 2], shear[1, 2] = rng.uniform(-SHEAR, SHEAR, 3)
    turn = Rotation.from_rotvec(np.radians(rng.uniform(-TURN_DEG, TURN_DEG, 3))).as_matrix()
    affine[:3, :3] = turn @ np.diag(rng.uniform(1 - ZOOM, 1 + ZOOM, 3)) @ shear
    affine[:3, 3] = rng.uniform(-SHIFT_MM, SHIFT_MM, 3)
    return affine


def moved(brain: Brain, by: np.ndarray, pixel_mm: float) -> Brain:
    """Move a brain in its cube."""
    data, mask = brain
    back = np.linalg.inv(by)
    middle = np.full(3, (len(data) - 1) / 2)
    offset = middle + back[:3, 3] / pixel_mm - back[:3, :3] @ middle
    weight = ndimage.affine_transform(mask.astype(np.float32), back[:3, :3], offset, order=1)
    summed = ndimage.affine_transform(data * mask, back[:3, :3], offset, order=1)
    kept = weight >= 0.5
    return np.where(kept, summed / np.maximum(weight, 1e-3), 0).astype(np.float32), kept


def another_scanner(brain: Brain, rng: np.random.Generator) -> Brain:
    """Give a brain another curve of intensity, shading and noise."""
    data, mask = brain
    low, high = np.percentile(data[mask], (1, 99))
    field = ndimage.zoom(rng.standard_normal((4, 4, 4)), len(data) // 4, order=3)
    shown = np.clip((data - low) / (high - low), 0, 1) ** rng.uniform(0.7, 1.4)
    shown = shown * np.exp(0.25 * rng.uniform(0.2, 1) * field) + rng.normal(0, 0.05, data.shape)
    return np.where(mask, shown, 0).astype(np.float32), mask


def thick_slices(mm: float) -> Spoil:
    """Axial slices of so many mm, each the mean over its thickness, interpolated between their middles onto the grid."""

    def spoil(brain: Brain, _: np.random.Generator) -> Brain:
        data, mask = brain
        every, voxels = mm / 3, np.arange(data.shape[2])
        starts = np.arange(0, len(voxels), every)[:, None]  # voxel i reaches from i to i + 1
        shares = (np.minimum(starts + every, voxels + 1) - np.maximum(starts, voxels)).clip(0) / every
        middles = starts[:, 0] + (every - 1) / 2  # as indices of voxels
        onto_grid = np.stack([np.interp(voxels, middles, one) for one in np.eye(len(middles))])
        weight, summed = (values @ (shares.T @ onto_grid) for values in (mask, data * mask))
        return np.where(weight > 0.5, summed / np.maximum(weight, 1e-3), 0).astype(np.float32), weight > 0.5

    return spoil


def tumour(radius_mm: float, level: float) -> Spoil:
    """A ball somewhere in the brain; level 0 is the darkest of the brain, 1 the brightest."""

    def spoil(brain: Brain, rng: np.random.Generator) -> Brain:
        data, mask = brain
        inner = np.argwhere(ndimage.binary_erosion(mask, iterations=5))
        centre = inner[rng.integers(len(inner))]
        near = np.linalg.norm(np.moveaxis(np.indices(data.shape), 0, -1) - centre, axis=-1) * 3 < radius_mm
        low, high = np.percentile(data[mask], (1, 99))
        filled = low + (high - low) * (level + 0.05 * rng.standard_normal(data.shape))
        return np.where(mask & near, filled, data).astype(np.float32), mask

    return spoil


def wider(level: float) -> Spoil:
    """A mask 6 mm too wide, over what is dark (0) or bright (1)."""

    def spoil(brain: Brain, _: np.random.Generator) -> Brain:
        data, mask = brain
        around = np.percentile(data[mask], 2 + 96 * level)
        return np.where(mask, data, around).astype(np.float32), ndimage.binary_dilation(mask, iterations=2)

    return spoil


def without(axis: int, keep: slice) -> Spoil:
    """A part of the brain; the rest was not scanned."""

    def spoil(brain: Brain, _: np.random.Generator) -> Brain:
        data, mask = brain
        part = np.zeros_like(mask)
        span = tuple(keep if a == axis else slice(None) for a in range(3))
        part[span] = mask[span]
        return data, part

    return spoil


SPOILS: dict[str, Spoil] = {
    "left half": without(0, slice(32)),
    "upper 60 %": without(2, slice(25, None)),
    "lower 60 %": without(2, slice(40)),
    "slices of 6 mm": thick_slices(6),
    "slices of 7.5 mm": thick_slices(7.5),
    "mask 6 mm too tight": lambda brain, _: (brain[0], ndimage.binary_erosion(brain[1], iterations=2)),
    "mask 6 mm too wide, dark rim": wider(0),
    "mask 6 mm too wide, bright rim": wider(1),
    "dark tumour of 60 mm": tumour(30, 0.1),
    "bright tumour of 80 mm": tumour(40, 1.2),
}


@dataclass(frozen=True)
class Cube:
    """A brain in the pose of its scanner, and the template that it is aligned to."""

    brain: CanonicalVolume
    template: np.ndarray

    def aligned(self, image: Brain, way: str) -> np.ndarray:
        """Return where an image of this brain is put."""
        return WAYS[way](*image, self.template, self.brain.grid.pixel_mm)

    def distance_mm(self, affine: np.ndarray, expected: np.ndarray) -> float:
        """Return the mean distance of brain points under two affines."""
        mask = self.brain.mask
        points = (np.argwhere(mask)[::BLOCK] - (len(mask) - 1) / 2) * self.brain.grid.pixel_mm
        places = np.column_stack([points, np.ones(len(points))])
        return float(np.linalg.norm((places @ (affine - expected).T)[:, :3], axis=1).mean())


def cubes(folder: Path, contrast: str, models: Path | None, count: int | None = None) -> list[Cube]:
    """Return the brains of a folder, or `count` of them evenly spaced."""
    model = contrast if models is None else str(models / f"{contrast}.safetensors")
    template = load_checkpoint(find_model(model)).reference["template"]
    cases = find_cases([folder], contrast=contrast)
    scans = [open_scan(case) for case in cases[:: max(1, len(cases) // (count or len(cases)))][:count]]
    return [Cube(to_canonical(smooth_brain(scan.volume, scan.brain), contrast=contrast), template) for scan in scans]


def moved_and_found(cubes: list[Cube], rng: np.random.Generator) -> tuple[dict[str, list[float]], ...]:
    """Return how far off both ways are on moved brains in mm, and the CPU seconds they take."""
    off: dict[str, list[float]] = {way: [] for way in WAYS}
    seconds: dict[str, list[float]] = {way: [] for way in WAYS}
    for cube in cubes:
        own, by = (cube.brain.data, cube.brain.mask), random_affine(rng)
        image = another_scanner(moved(own, by, cube.brain.grid.pixel_mm), rng)
        for way in WAYS:
            untouched = cube.aligned(own, way)
            start = time.process_time()
            affine = cube.aligned(image, way)
            seconds[way].append(time.process_time() - start)
            off[way].append(cube.distance_mm(affine, by @ untouched))
    return off, seconds


def spoiled_and_found(spoil: Spoil, cubes: list[Cube], rng: np.random.Generator) -> dict[str, list[float]]:
    """Return how far off both ways are on spoiled brains, mm."""
    off: dict[str, list[float]] = {way: [] for way in WAYS}
    for cube in cubes:
        own = cube.brain.data, cube.brain.mask
        image = spoil(own, rng)
        for way in WAYS:
            off[way].append(cube.distance_mm(cube.aligned(image, way), cube.aligned(own, way)))
    return off


def row(name: str, found: dict[str, list[float]]) -> str:
    """Return one row of a table: median, nine of ten, largest."""
    shown = (f"{np.median(mm):.2f} / {np.percentile(mm, 90):.2f} / {max(mm):.2f}" for mm in found.values())
    return f"| {name} | " + " | ".join(shown) + " |"


def main() -> None:
    """Print and write both tables."""
    parser = parser_of(__doc__, shared=True, output=True)
    parser.add_argument("--models", type=Path, help="a folder of t1, t2, flair.safetensors; default: the shipped ones")
    parser.add_argument("--brains", type=int, default=15, help="healthy brains of each scanner")
    options = parser.parse_args()
    healthy = [
        cube
        for scanner in ("ixi", "ds002748")
        for cube in cubes(options.shared / scanner, "t1", options.models, options.brains)
    ]
    gliomas = {contrast: cubes(options.shared / "gliomas", contrast, options.models) for contrast in CONTRASTS}
    rng = np.random.default_rng(0)
    rows = []
    for name, group in {f"{len(healthy)} healthy T1, two scanners": healthy, **gliomas}.items():
        off, seconds = moved_and_found(group, rng)
        label = name if group is healthy else f"{len(group)} gliomas, {name.upper()}"
        rows += [row(label, off), row(f"{label}: CPU s", seconds)]
        print("\n".join(rows[-2:]), flush=True)
    spoiled = []
    for name, spoil in SPOILS.items():
        spoiled.append(row(name, spoiled_and_found(spoil, healthy, rng)))
        print(spoiled[-1], flush=True)
    head = "| median / nine of ten / largest | " + " | ".join(WAYS) + " |\n|---|---|---|\n"
    text = (
        f"# Registration\n\nMade by `python -m benchmarks.measured.registration` on {platform.machine()}, one thread, seed 0.\n"
        "Distances are in mm over the brain.\n\n"
        "Brains were moved by a known affine: turned by up to 26 degrees, shifted by up to 15 mm, zoomed by 0.85 to 1.15 "
        "along each axis, and sheared.\n"
        "They then got another curve of intensity, shading and noise:\n\n" + head + "\n".join(rows) + "\n\n"
        f"Parts of the {len(healthy)} healthy T1 were missing or changed; distances to the alignment of the whole brain:\n\n"
        + head
        + "\n".join(spoiled)
        + "\n"
    )
    if options.output:
        options.output.write_text(text)


if __name__ == "__main__":
    main()
