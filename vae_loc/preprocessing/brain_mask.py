"""Volume -> brain mask: a file, the whole volume, an already stripped scan, or deepbet.

Whole heads are extracted by `deepbet_networks`; this module checks that their result can be a brain.
"""

from __future__ import annotations

from dataclasses import replace

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from vae_loc.errors import UnusableInput
from vae_loc.preprocessing.deepbet_networks import NoBrain, extract_brain
from vae_loc.preprocessing.regions import Box, bounding_box, depth_mm, distance_mm, filled, largest_component
from vae_loc.preprocessing.resampling import interpolated
from vae_loc.scans.volume import Volume, read_mask
from vae_loc.scans.voxels import BRAIN_RANGE_ML
from vae_loc.vocabulary import BoolArray, BrainMask, FloatArray

SIDE_RANGE_MM = (60.0, 240.0)  # of the mask's bounding box: a slab of a brain to a long head
BOX_FILLING_RANGE = (0.3, 0.75)  # mask / bounding box; brains 0.4 to 0.6, an ellipsoid 0.52, a full box 1
MIN_LARGEST_SHARE = 0.8  # of the voxels deepbet calls brain, in one piece
MIN_CONTRAST = 0.2  # (median brain - median rest) / (99th - 1st percentile); IXI heads 0.64 to 0.73, pure noise 0
MAX_FACE_SHARE = 0.25  # of any face of the volume; a head's neck or a slab's cut cover more, a stripped brain < 0.1
MAX_SKULL_DIP = 0.82  # IXI heads with zeroed air 0.46 to 0.80, stripped T1, T2 and FLAIR 0.87 to 1.03
SHELL_MM = 2.0  # thickness of the shells that look for the skull
SKULL_DEPTH_MM = 24.0  # scalp and skull end above this depth
MIN_SHELL_VOXELS = 20  # fewer give no median
CLOSING_MM = 4.0  # bridges the sulci and ventricles that stripping left open
COARSE_MM, FINE_MM = 2.0, 1.5  # voxels finer than the latter are looked at as if they had the former
MIN_FOREGROUND_SHARE = 0.5  # of a coarse voxel, from which on it counts as foreground
COMMON_SAMPLE = 20_000  # voxels of the faces that tell the background


def find_brain(volume: Volume, how: BrainMask) -> tuple[BoolArray, str]:
    """Return the brain mask, bool (I, J, K), and its source.

    The source is `file`, `none` (every voxel that is not missing), `skull-stripped` (the scan's own
    non-background voxels, closed and filled) or `deepbet` (extracted from a whole head).

    Raises
    ------
    UnusableInput : if the mask file does not fit, or no plausible brain can be extracted.

    Does not tighten a wide mask, and does not look whether a mask file holds a brain.
    """
    if how == "none":
        return _present(volume), "none"
    if how != "auto":
        return read_mask(how, volume), "file"
    bridged = _bridged(volume)
    stripped = _stripped(bridged)
    if stripped is not None:
        return (stripped if bridged is volume else stripped & _present(volume)), "skull-stripped"
    return _extracted(bridged) & _present(volume), "deepbet"


def _bridged(volume: Volume) -> Volume:
    """Return a volume whose lost slices are copies of their neighbours, so that the brain is in one piece."""
    data, missing = volume.data, volume.missing
    for axis, slices in volume.lost.items():
        data, missing = data.copy(order="F"), missing.copy() if missing is not None else None
        kept = np.setdiff1d(np.arange(data.shape[axis]), slices)
        nearest = kept[np.abs(kept - slices[:, None]).argmin(axis=1)]
        for of in (data, missing):
            if of is not None:
                np.moveaxis(of, axis, 0)[slices] = np.moveaxis(of, axis, 0)[nearest]
    return volume if data is volume.data else replace(volume, data=data, missing=missing)


def _present(volume: Volume) -> BoolArray:
    return np.ones(volume.data.shape, dtype=bool) if volume.missing is None else ~volume.missing


def _stripped(volume: Volume) -> BoolArray | None:
    """Return the brain of an already stripped scan, or None if this is not one.

    A stripped scan has a constant background on the volume's faces, and what is left has the size
    of a brain and no dark shell (the skull) under a brighter one (the scalp).
    """
    data = volume.data
    faces = [face.ravel() for face in (data[0], data[-1], data[:, 0], data[:, -1], data[:, :, 0], data[:, :, -1])]
    # a quarter of scanned or stripped backgrounds are one value: the most frequent of the faces
    shown = np.concatenate(faces)
    values, counts = np.unique(shown[np.linspace(0, len(shown) - 1, COMMON_SAMPLE).astype(int)], return_counts=True)
    background = float(values[counts.argmax()])
    low, high = BRAIN_RANGE_ML
    foreground: BoolArray = (data != background) & _present(volume)
    found_ml = np.count_nonzero(foreground) * volume.voxel_mm3 / 1000
    if max(np.mean(face != background) for face in faces) > MAX_FACE_SHARE or not low / 2 <= found_ml <= high:
        return None
    # its largest component, closed by `CLOSING_MM` on a coarse grid and filled
    box = bounding_box(foreground)
    to_box, shape, spacing_mm = _coarse_grid(box, volume.spacing_mm)
    largest = largest_component(interpolated(foreground[box].astype(np.float32), to_box, shape) > MIN_FOREGROUND_SHARE)
    dilated = distance_mm(largest, spacing_mm) <= CLOSING_MM
    closed = filled((depth_mm(dilated, spacing_mm) > CLOSING_MM) | largest)
    back: FloatArray = np.zeros(data.shape, dtype=np.float32, order="F")
    back[box] = interpolated(closed.astype(np.float32), np.linalg.inv(to_box).astype(np.float64), back[box].shape)
    mask: BoolArray = (back > 0.5) | (foreground & (back > 0))
    if not low <= np.count_nonzero(mask) * volume.voxel_mm3 / 1000 <= high:
        return None
    dip = _skull_dip(interpolated(data[box].astype(np.float32), to_box, shape), closed, spacing_mm, background)
    return mask if dip > MAX_SKULL_DIP else None


def _coarse_grid(
    box: Box, spacing_mm: tuple[float, float, float]
) -> tuple[NDArray[np.float64], tuple[int, ...], tuple[float, float, float]]:
    """Return a grid of `COARSE_MM` around a box of finer voxels, with room for the closing; alike for flipped volumes.

    Returns
    -------
    The affine (4, 4) from its indices to those of the box, its shape, and its spacing in mm.
    """
    spacing = np.array(spacing_mm)
    sides = np.array([span.stop - span.start for span in box])
    step: NDArray[np.float64] = np.where(spacing < FINE_MM, COARSE_MM / spacing, 1.0)
    room = np.ceil(CLOSING_MM / (spacing * step)) + 1
    shape = (np.ceil((sides - 1) / step) + 1 + 2 * room).astype(int)
    to_box = np.diag([*step, 1.0])
    to_box[:3, 3] = (sides - 1) / 2 - step * (shape - 1) / 2
    i, j, k = (float(mm) for mm in spacing * step)
    return to_box, tuple(int(n) for n in shape), (i, j, k)


def _skull_dip(values: FloatArray, mask: BoolArray, spacing_mm: tuple[float, float, float], background: float) -> float:
    """Return the relative brightness of the darkest shell between two brighter ones; about 1 if there is none.

    Shells of `SHELL_MM` by depth under the mask's surface, their medians m_1 ... m_n:
    min over i of m_i / min(max(m_1 ... m_{i-1}), max(m_{i+1} ... m_n)). In a head the scalp, the
    skull and the brain follow each other; in a stripped brain the medians only rise or fall.
    """
    depth = depth_mm(mask, spacing_mm)
    inside = (depth > 0) & (depth <= SKULL_DEPTH_MM)
    shown, shells = values[inside], np.ceil(depth[inside] / SHELL_MM)
    shown = shown - min(background, float(np.percentile(shown, 1)))
    medians = [
        float(np.median(shown[shells == s]))
        for s in range(1, int(SKULL_DEPTH_MM / SHELL_MM) + 1)
        if np.count_nonzero(shells == s) >= MIN_SHELL_VOXELS
    ]
    brighter = [min(max(medians[:i]), max(medians[i + 1 :])) for i in range(1, len(medians) - 1)]
    dips = [m / b for m, b in zip(medians[1:], brighter, strict=False) if b > 0]
    return min(dips, default=1.0)


def _extracted(volume: Volume) -> BoolArray:
    """Extract the brain of the scan turned to RAS+ by flips and permutations, and turn the mask back.

    Raises
    ------
    UnusableInput : if what is found is not like a brain.
    """
    to_ras = nib.orientations.io_orientation(volume.affine)
    from_ras = nib.orientations.ornt_transform(nib.orientations.axcodes2ornt("RAS"), to_ras)
    turned: FloatArray = nib.orientations.apply_orientation(volume.data, to_ras)
    try:
        brain_like = nib.orientations.apply_orientation(extract_brain(turned), from_ras)
        return _plausible(volume, np.ascontiguousarray(brain_like)) & _present(volume)
    except NoBrain as error:
        low, high = BRAIN_RANGE_ML
        raise UnusableInput(
            volume.path,
            f"expected a stripped scan or a T1 head with one brain of {low:.0f} to {high:.0f} ml, brain extraction "
            f"found {error}; give --brain-mask FILE, or --brain-mask none if the whole volume is brain",
        ) from error


def _plausible(volume: Volume, brain_like: BoolArray) -> BoolArray:
    """Return the largest component, filled, if it has the size, shape and contrast of a brain; else raise `NoBrain`."""
    if not brain_like.any():
        raise NoBrain("no brain")
    largest = largest_component(brain_like)
    if (share := largest.sum() / brain_like.sum()) < MIN_LARGEST_SHARE:
        raise NoBrain(f"pieces, the largest {share:.0%} of them")
    box = bounding_box(largest)
    largest[box] = filled(largest[box])
    low, high = BRAIN_RANGE_ML
    if not low <= (found_ml := largest.sum() * volume.voxel_mm3 / 1000) <= high:
        raise NoBrain(f"{found_ml:.0f} ml")
    sides_mm = [n * s for n, s in zip(largest[box].shape, volume.spacing_mm, strict=True)]
    low, high = SIDE_RANGE_MM
    if not low <= min(sides_mm) <= max(sides_mm) <= high:
        raise NoBrain(" x ".join(f"{s:.0f}" for s in sides_mm) + " mm")
    low, high = BOX_FILLING_RANGE
    if not low <= (filling := float(largest[box].mean())) <= high:
        raise NoBrain(f"a shape that fills {filling:.0%} of its box")
    # how much brighter it is than the rest, relative to the range; deepbet sees brains in noise
    data, inside = volume.data[::2, ::2, ::2], largest[::2, ::2, ::2]
    darkest, brightest = np.percentile(data, (1, 99))
    difference = np.median(data[inside]) - np.median(data[~inside])
    if (contrast := float(difference / ((brightest - darkest) or 1.0))) < MIN_CONTRAST:
        hint = " (of an MP2RAGE take the image whose air is dark)" if contrast > MIN_CONTRAST / 2 else ""
        raise NoBrain(f"a region {contrast:.0%} brighter than the rest{hint}")
    return largest
