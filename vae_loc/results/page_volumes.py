"""A scan and its maps for a browser: cropped to the brain, 8 bits a voxel, as NIfTI in base64."""

from __future__ import annotations

import base64
import math
from dataclasses import dataclass

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from vae_loc.preprocessing.regions import Box, bounding_box
from vae_loc.scans.volume import Volume
from vae_loc.vocabulary import BoolArray

MARGIN_MM = 10.0  # around the brain
MAX_VOXELS = 16_000_000  # of a layer; a head of 1 mm has half of it. Beyond, voxels are joined to blocks
STEPS = 255  # of 8 bits


@dataclass(frozen=True)
class Crop:
    """The part of a grid that is shown.

    Attributes
    ----------
    box : slices of the scan's array (I, J, K)
    block : voxels an axis that are joined to one shown
    affine : float64 (4, 4), indices of what is shown to RAS+ mm
    """

    box: Box
    block: tuple[int, int, int]
    affine: NDArray[np.float64]


def crop_to(brain: BoolArray, volume: Volume) -> Crop:
    """Return the box around the brain, bool (I, J, K), `MARGIN_MM` wider, in blocks small enough for a page.

    Blocks join the shortest voxel axis first, so that what is shown stays near isotropic.
    """
    i, j, k = (math.ceil(MARGIN_MM / spacing) for spacing in volume.spacing_mm)
    box = bounding_box(brain, margin=(i, j, k))
    block = np.ones(3, dtype=int)
    sides = np.array([part.stop - part.start for part in box])
    while math.prod(-(-sides // block)) > MAX_VOXELS:
        block[int(np.argmin(block * volume.spacing_mm))] += 1
    first = np.array([part.start for part in box]) + (block - 1) / 2
    affine = volume.affine.copy()
    affine[:3, 3] += affine[:3, :3] @ first
    affine[:3, :3] *= block
    return Crop(box, (int(block[0]), int(block[1]), int(block[2])), affine)


def layer(values: NDArray[np.generic], crop: Crop, *, low: float, high: float, highest: bool = False) -> str:
    """Return part of a volume as base64 of a NIfTI of 8 bits whose slope gives the values back.

    Parameters
    ----------
    values : (I, J, K) on the scan's grid
    low, high : what the 256 steps span; values beyond are shown as these
    highest : a block shows its highest voxel instead of the mean, so that no lesion is thinned out
    """
    from isal import igzip
    from skimage.measure import block_reduce

    shown = np.asarray(values[crop.box], dtype=np.float32)
    if max(crop.block) > 1:
        shown = block_reduce(shown, crop.block, np.max if highest else np.mean)
    step = (high - low) / STEPS or 1.0
    stored = np.clip(np.round((shown - low) / step), 0, STEPS).astype(np.uint8)
    image = nib.Nifti1Image(stored, crop.affine)
    image.header.set_slope_inter(step, low)
    image.header.set_xyzt_units("mm")
    return base64.b64encode(igzip.compress(image.to_bytes(), compresslevel=3, mtime=0)).decode("ascii")
