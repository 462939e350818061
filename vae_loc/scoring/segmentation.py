"""Score map -> thresholded mask and its connected components."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vae_loc.model.checkpoint import healthy_threshold
from vae_loc.model.network import Model
from vae_loc.scans.volume import Volume
from vae_loc.vocabulary import BoolArray, FloatArray, Method

ROUNDING = 1e-6  # of a voxel: a component of exactly the smallest size is kept
DEFAULT_FPR = 0.05  # share of healthy voxels that a mask marks


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
    """Return a mask of the voxels above a threshold, bool (I, J, K), and its components, largest first.

    Parameters
    ----------
    scores : float32 (I, J, K) on the grid of `volume`
    brain : bool (I, J, K); nothing is marked outside
    threshold : in the units of the map; a voxel is marked if its score is above it
    min_size_mm3 : the smallest component kept; components are 26-connected
    """
    from skimage.measure import label, regionprops

    labels = label((scores > threshold) & brain, connectivity=3)
    min_voxels = min_size_mm3 / volume.voxel_mm3 - ROUNDING
    mask = np.zeros(scores.shape, dtype=bool)
    components: list[Component] = []
    regions = [region for region in regionprops(labels) if region.area >= min_voxels]
    for number, region in enumerate(sorted(regions, key=lambda r: (-r.area, r.label)), start=1):
        voxels = tuple(region.coords.T)
        mask[voxels] = True
        peak = region.coords[int(scores[voxels].argmax())]
        components.append(
            Component(
                label=number,
                volume_ml=float(region.area) * volume.voxel_mm3 / 1000,
                centroid_ras_mm=_ras_mm(volume, region.coords.mean(axis=0)),
                peak=float(scores[tuple(peak)]),
                peak_ras_mm=_ras_mm(volume, peak),
            )
        )
    return mask, components


def _ras_mm(volume: Volume, voxel: np.ndarray) -> tuple[float, float, float]:
    x, y, z = volume.affine[:3, :3] @ voxel + volume.affine[:3, 3]
    return float(x), float(y), float(z)


@dataclass(frozen=True)
class Segmentation:
    """How to make a mask of a map: a threshold given, else the model's labelled one, else the healthy one at `fpr`."""

    threshold: float | None
    fpr: float | None
    min_size_mm3: float

    def applied(self, model: Model, method: Method, *, bare: bool) -> tuple[float, str]:
        """Return the threshold of a map, and where it comes from."""
        labelled = model.facts.labelled
        if self.threshold is not None:
            return self.threshold, "option"
        if labelled is not None and not bare:
            return labelled.thresholds[method], f"labelled calibration on {labelled.calibration_subjects} subjects"
        fpr = DEFAULT_FPR if self.fpr is None else self.fpr
        return healthy_threshold(model.checkpoint, method, fpr, raw=bare), f"healthy fpr {fpr:g}"


def ignored_fpr(segmentation: Segmentation | None, model: Model) -> tuple[str, ...]:
    """Return what to tell a user whose `--fpr` has no effect; nothing where it has."""
    if segmentation is None or segmentation.fpr is None or segmentation.threshold is not None:
        return ()
    if model.facts.labelled is None:
        return ()
    return (
        "the model's labelled calibration set the threshold, --fpr had no effect; use the uncalibrated model for it",
    )
