"""Flags of a finding: what a reader asks of it first (docs/explanation/reading-maps.md, Flags).

symmetric : the mirrored place is as strong. The map's greatest value within `REACH_MM` of each mirrored pixel, with
    the finding's sign, is on average `ALIKE` of the mean of the finding. The grid's first axis runs from left to
    right, and the mean brain is symmetric about its middle; of a finding across it, the larger half counts.
fluid : the median intensity where it has `CORE` of its peak or more is `FLUID_SHARE` of the way from the brain's
    median, 0, to this scan's fluid: a percentile of the intensities in the ventricles of the atlas.
edge : `EDGE_SHARE` of it lies within `EDGE_MM` of the edge of the brain mask.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vae_loc.preprocessing.canonical import CanonicalVolume
from vae_loc.preprocessing.regions import depth_mm, highest_near
from vae_loc.scoring.anatomy import VENTRICLES, Labels, regions
from vae_loc.vocabulary import FloatArray

REACH_MM, ALIKE = 3.0, 0.8
CORE, FLUID_SHARE, EDGE_MM, EDGE_SHARE = 0.5, 0.75, 7.5, 0.5
FLUID_AT = {"t1": 10, "flair": 10, "t2": 90}  # the percentile: some of the atlas' ventricles is tissue in most scans
MIN_FLUID_PIXELS, MIN_FLUID_SD = 50, 1.0  # fewer, or nearer to the brain's median, are no sample of the fluid
Indices = tuple[NDArray[np.intp], ...]  # indices of the map, three arrays (N,)


@dataclass(frozen=True)
class Flags:
    """The flags of one finding, None where not known."""

    symmetric: bool | None = None
    fluid: bool | None = None
    edge: bool | None = None


@dataclass(frozen=True)
class Scene:
    """The scan around its findings.

    signed, depth_mm : float32 (I, I, I), the map, > 0 where brighter than expected, and the depth in the brain mask
    data : float32 (J, J, J), the intensities on the canonical grid, in robust standard deviations; I is J or 2 J
    fluid : intensity of the scan's fluid, None where not known
    pixel_mm : edge of a pixel of the map
    """

    signed: FloatArray
    depth_mm: FloatArray
    data: FloatArray
    fluid: float | None
    pixel_mm: float

    def flags(self, at: Indices, *, bright: bool) -> Flags:
        """Return the flags of a finding from its pixels and its sign."""
        values = self.signed[at] if bright else -self.signed[at]
        core = tuple(axis[values >= CORE * values.max()] // (len(self.signed) // len(self.data)) for axis in at)
        return Flags(
            symmetric=self._mirrored(at, values, bright=bright),
            fluid=None if self.fluid is None else bool(np.median(self.data[core]) / self.fluid >= FLUID_SHARE),
            edge=bool(np.mean(self.depth_mm[at] <= EDGE_MM) >= EDGE_SHARE),
        )

    def _mirrored(self, at: Indices, values: FloatArray, *, bright: bool) -> bool:
        """Return whether the mirrored place is as strong."""
        # the mirrored pixels of the larger half, and a box around them
        left = at[0] < len(self.signed) // 2
        half = left == (2 * np.count_nonzero(left) >= len(left))
        places = np.stack([len(self.signed) - 1 - at[0][half], at[1][half], at[2][half]])
        reach = round(REACH_MM / self.pixel_mm)
        first, last = np.maximum(places.min(axis=1) - reach, 0), places.max(axis=1) + reach
        box = self.signed[tuple(slice(start, stop + 1) for start, stop in zip(first, last, strict=True))]
        # the greatest value near each mirrored pixel
        near = highest_near(box if bright else -box, reach)
        return bool(near[tuple(places - first[:, None])].mean() >= ALIKE * values[half].mean())


def scene_of(signed: FloatArray, canonical: CanonicalVolume, labels: Labels, contrast: str) -> Scene:
    """Return the scan around the findings of a map; `labels`, uint8 (J, J, J), are of `labels_for`."""
    on = canonical if signed.shape == canonical.mask.shape else canonical.halved
    ventricles = np.isin(labels, [index for index, region in regions().items() if region.lobe in VENTRICLES])
    known = canonical.data[canonical.mask & ventricles]
    at = FLUID_AT.get(contrast) if len(known) >= MIN_FLUID_PIXELS else None
    fluid = 0.0 if at is None else float(np.percentile(known, at))
    is_fluid = at is not None and (fluid if at > 50 else -fluid) >= MIN_FLUID_SD
    depth = depth_mm(on.mask, on.grid.pixel_mm)
    return Scene(signed, depth, canonical.data, fluid if is_fluid else None, on.grid.pixel_mm)
