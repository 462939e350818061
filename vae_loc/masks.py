"""Score map -> thresholded mask and its connected components."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vae_loc.volume import BoolArray, FloatArray, Volume


@dataclass(frozen=True)
class Component:
    """One connected region of a mask (26-connected): volume, centroid and highest score."""

    label: int
    volume_ml: float
    centroid_ras_mm: tuple[float, float, float]
    peak: float
    peak_ras_mm: tuple[float, float, float]


def threshold_map(
    scores: FloatArray, volume: Volume, brain: BoolArray, *, threshold: float, min_size_mm3: float
) -> tuple[BoolArray, list[Component]]:
    """Return voxels above `threshold` in components of at least `min_size_mm3`, largest first."""
    from skimage.measure import label, regionprops

    labels = label((scores > threshold) & brain, connectivity=3)
    min_voxels = min_size_mm3 / volume.voxel_mm3
    mask = np.zeros(scores.shape, dtype=bool)
    found: list[Component] = []
    regions = [region for region in regionprops(labels) if region.area >= min_voxels]
    for number, region in enumerate(sorted(regions, key=lambda r: (-r.area, r.label)), start=1):
        voxels = tuple(region.coords.T)
        mask[voxels] = True
        peak = region.coords[int(scores[voxels].argmax())]
        found.append(
            Component(
                label=number,
                volume_ml=float(region.area) * volume.voxel_mm3 / 1000,
                centroid_ras_mm=_ras_mm(volume, region.coords.mean(axis=0)),
                peak=float(scores[tuple(peak)]),
                peak_ras_mm=_ras_mm(volume, peak),
            )
        )
    return mask, found


def _ras_mm(volume: Volume, voxel: np.ndarray) -> tuple[float, float, float]:
    x, y, z = volume.affine[:3, :3] @ voxel + volume.affine[:3, 3]
    return float(x), float(y), float(z)
