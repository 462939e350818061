"""Stored voxels -> values with meaning: the header's slope, and whether what it gives can be a scan."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vae_loc.errors import UnusableInput
from vae_loc.scans.nifti import Header
from vae_loc.vocabulary import BoolArray, FloatArray

ABSURD = 1e30  # no scanner's unit: a sentinel for missing, or damage
CT_AIR, CT_AIR_SHARE = (-1100.0, -900.0), 0.1  # Hounsfield units around a head, and how much of them at least
MAX_MISSING_SHARE = 0.5  # of the voxels; beyond it the rest must have the size of a brain
BRAIN_RANGE_ML = (600.0, 2500.0)  # below the smallest adult brain, beyond the largest intracranial volume
MIN_SLICE_SHARE = 0.01  # of the fullest slice's voxels that are not 0, in the first and last slice of a head
PADDING_BELOW, PADDING_ABOVE = 0.5, 0.25  # of the range of all other values, from it to the padding: of DICOM -32768
SPARSE_STEP = 16  # one of so many is looked at before all are


@np.errstate(all="ignore")  # signalling NaN, and what overflows, are refused by name or counted
def scaled(path: Path, header: Header, stored: NDArray[np.generic]) -> NDArray[np.float64]:
    """Return slope * stored + intercept; a slope of 0 or NaN means none.

    Raises
    ------
    UnusableInput : if slope or intercept is not finite, or carries voxels beyond every unit.
    """
    slope, intercept = float(header["scl_slope"]), float(header["scl_inter"])
    if slope == 0 or math.isnan(slope) or (slope, intercept) == (1.0, 0.0):
        return stored  # type: ignore[return-value]
    if not math.isfinite(slope) or not math.isfinite(intercept):
        raise UnusableInput(path, f"expected a finite slope and intercept, the header says {slope:g} and {intercept:g}")
    values = stored.astype(np.float64)
    result: NDArray[np.float64] = values * slope + intercept
    overflown = np.isfinite(values) & ~(np.abs(result) < ABSURD)
    if overflown.any():
        raise UnusableInput(path, f"expected voxels below {ABSURD:g}, slope {slope:g} carries {overflown.sum()} beyond")
    return result


@np.errstate(all="ignore")
def content(
    path: Path, array: NDArray[np.float64], voxel_mm3: float
) -> tuple[FloatArray, BoolArray | None, tuple[str, ...]]:
    """Return float32 data with missing voxels at 0, which they are, and notes for the user.

    NaN and infinity are missing. More of them than `MAX_MISSING_SHARE` are the background of a stripped brain, as SPM
    and others write it, if the rest has the size of a brain.

    Raises
    ------
    UnusableInput : if the volume has no content.
    """
    missing = ~(np.abs(array) < ABSURD) if array.dtype.kind == "f" else None
    missing_count = 0 if missing is None else int(np.count_nonzero(missing))
    background = missing_count > MAX_MISSING_SHARE * array.size
    left_ml = (array.size - missing_count) * voxel_mm3 / 1000
    low, high = BRAIN_RANGE_ML
    if background and not low <= left_ml <= high:
        found = f"{missing_count} of {array.size} voxels are NaN or infinite, and the other {left_ml:.3g} ml"
        raise UnusableInput(path, f"expected a scan, {found} are no brain of {low:g} to {high:g} ml")
    notes = []
    if not missing_count and (padding := padding_of(array)) is not None:
        padded = array == padding
        array = np.where(padded, array[~padded].min(), array)
        notes.append(f"{padded.sum()} voxels hold {padding:g} beside the field of view and were taken as air")
    data = np.asfortranarray(array, dtype=np.float32)  # as NIfTI stores it
    values = data
    if missing is not None and missing_count:
        data = np.where(missing, np.float32(0), data)
        values = data[~missing]
    # voxels of one or two values are nothing, or a mask
    low, high = float(values.min()), float(values.max())
    if low == high:
        raise UnusableInput(path, f"expected a scan, every voxel is {low:g}")
    if not any(((some > low) & (some < high)).any() for some in (values[::SPARSE_STEP], values)):
        raise UnusableInput(path, f"expected a scan, found only {low:g} and {high:g}: a mask; name the scan it is of")
    if missing_count and not background:
        notes.append(f"{missing_count} voxels are NaN or infinite and were treated as missing")
    return data, missing if missing_count else None, tuple(notes)


def padding_of(array: NDArray[np.float64]) -> float | None:
    """Return the value that fills an array (I, J, K) beside the field of view, far from all others; None without one.

    It is in all eight corners; 0 is air already, and air of CT is no padding.
    """
    end = float(array[0, 0, 0])
    if end == 0 or CT_AIR[0] <= end <= CT_AIR[1] or (array[np.ix_(*[(0, -1)] * 3)] != end).any():
        return None
    if not (rest := array[array != end]).size:
        return None
    low, high = float(rest.min()), float(rest.max())
    least = (high - low) * (PADDING_BELOW if end < low else PADDING_ABOVE)
    return end if (end < min(low, 0) or end > high) and max(low - end, end - high) >= least > 0 else None


def lost_slices(data: FloatArray) -> dict[int, NDArray[np.intp]]:
    """Return the slices of zeros between others, along each axis that has some: lost in transfer, and no background.

    >>> lost_slices(np.array([1, 1, 0, 1, 0], dtype=np.float32).reshape(5, 1, 1))
    {0: array([2])}
    """
    lost, shown = {}, data != 0
    for axis in range(3):
        counts = np.count_nonzero(shown, axis=tuple({0, 1, 2} - {axis}))
        ends = np.flatnonzero(counts > MIN_SLICE_SHARE * counts.max())
        if len(empty := ends[0] + np.flatnonzero(counts[ends[0] : ends[-1]] == 0)):
            lost[axis] = empty
    return lost


def looks_like_ct(data: FloatArray) -> bool:
    """Return whether voxels (I, J, K) have Hounsfield units: a tenth of them or more that of air."""
    if data.min() > CT_AIR[1]:
        return False
    return bool(np.mean((data >= CT_AIR[0]) & (data <= CT_AIR[1])) >= CT_AIR_SHARE)


def equal_share(data: FloatArray, brain: BoolArray) -> float:
    """Return the share of neighbouring voxels (I, J, K), both in the brain, that have the same value."""
    equal = pairs = 0
    for axis in range(data.ndim):
        values, inside = np.moveaxis(data, axis, 0), np.moveaxis(brain, axis, 0)
        both = inside[:-1] & inside[1:]
        pairs += int(np.count_nonzero(both))
        equal += int(np.count_nonzero(both & (values[:-1] == values[1:])))
    return equal / max(1, pairs)
