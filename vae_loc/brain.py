"""Volume -> brain mask: a file, the whole volume, an already stripped scan, or deepbet.

Whole heads are extracted by deepbet (Fisch et al. 2024, doi:10.1016/j.compbiomed.2024.108845;
MIT), whose weights lie inside its wheel: nothing is downloaded.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import nibabel as nib
import numpy as np

from vae_loc.errors import UnusableInput
from vae_loc.volume import BoolArray, FloatArray, Volume, read_mask

if TYPE_CHECKING:
    from deepbet.bet import BrainExtraction

BRAIN_RANGE_ML = (400.0, 2500.0)  # from an infant's brain to beyond the largest adult intracranial volume
MIN_EMPTY_BORDER = 0.8  # share of the volume's six faces that is background in a stripped scan
CLOSING_MM = 4.0  # bridges the sulci and ventricles that stripping left open
MASK_PROBABILITY = 0.5  # deepbet's own threshold


def find_brain(volume: Volume, how: Path | Literal["auto", "none"]) -> tuple[BoolArray, str]:
    """Return the brain mask, bool (I, J, K), and its source.

    The source is `file`, `none` (every voxel), `skull-stripped` (the scan's own non-background
    voxels, closed and filled) or `deepbet` (extracted from a whole head).

    Raises
    ------
    UnusableInput : if the mask file does not fit, or no plausible brain can be extracted.

    Does not tighten a wide mask.
    """
    if how == "none":
        return np.ones(volume.data.shape, dtype=bool), "none"
    if how != "auto":
        return read_mask(how, volume), "file"
    foreground = _foreground(volume)
    if _is_stripped(volume, foreground):
        return _closed(foreground, volume.spacing_mm), "skull-stripped"
    mask = _extracted(volume)
    _check_plausible(volume, mask)
    return mask, "deepbet"


def _foreground(volume: Volume) -> BoolArray:
    """Return the voxels that are not the commonest value of the volume's faces."""
    faces = np.concatenate([np.take(volume.data, i, axis).ravel() for axis in range(3) for i in (0, -1)])
    values, counts = np.unique(faces, return_counts=True)
    foreground: BoolArray = volume.data != values[counts.argmax()]
    return foreground if volume.missing is None else foreground & ~volume.missing


def _is_stripped(volume: Volume, foreground: BoolArray) -> bool:
    faces = np.concatenate([np.take(foreground, i, axis).ravel() for axis in range(3) for i in (0, -1)])
    low, high = BRAIN_RANGE_ML
    return float(1 - faces.mean()) >= MIN_EMPTY_BORDER and low <= foreground.sum() * volume.voxel_mm3 / 1000 <= high


def _closed(foreground: BoolArray, spacing_mm: tuple[float, float, float]) -> BoolArray:
    """Return the largest component, closed by `CLOSING_MM` and filled."""
    from scipy.ndimage import binary_fill_holes, distance_transform_edt, label

    labels, count = label(foreground)
    largest = labels == 1 + np.argmax(np.bincount(labels.ravel())[1:]) if count > 1 else foreground
    margin = [int(np.ceil(CLOSING_MM / s)) + 1 for s in spacing_mm]
    padded = np.pad(largest, [(m, m) for m in margin])
    dilated = distance_transform_edt(~padded, sampling=spacing_mm) <= CLOSING_MM
    closed = distance_transform_edt(dilated, sampling=spacing_mm) > CLOSING_MM
    filled = binary_fill_holes(closed | padded)
    result: BoolArray = filled[tuple(slice(m, n - m) for m, n in zip(margin, filled.shape, strict=True))]
    return result


def _extracted(volume: Volume) -> BoolArray:
    """Run deepbet on the scan turned to RAS+ by flips and permutations, and turn the mask back."""
    to_ras = nib.orientations.io_orientation(volume.affine)
    from_ras = nib.orientations.ornt_transform(nib.orientations.axcodes2ornt("RAS"), to_ras)
    data: FloatArray = nib.orientations.apply_orientation(volume.data, to_ras).astype(np.float32)
    scale = float(np.percentile(data, 99.5)) or 1.0  # deepbet clips here; keeps 1e6 and 1e-6 alike
    try:
        network = _deepbet()
        probability = network.run_model(np.ascontiguousarray(data / scale))
        mask = network.postprocess(probability > MASK_PROBABILITY)
    except (AssertionError, ValueError, RuntimeError, IndexError) as error:
        raise _no_brain(volume, f"none ({error})") from error
    result: BoolArray = nib.orientations.apply_orientation(mask > 0, from_ras)
    return np.ascontiguousarray(result)


@functools.cache
def _deepbet() -> BrainExtraction:
    from deepbet.bet import BrainExtraction

    return BrainExtraction(no_gpu=True)


def _check_plausible(volume: Volume, mask: BoolArray) -> None:
    low, high = BRAIN_RANGE_ML
    found_ml = float(mask.sum()) * volume.voxel_mm3 / 1000
    if not low <= found_ml <= high:
        raise _no_brain(volume, f"{found_ml:.0f} ml")


def _no_brain(volume: Volume, found: str) -> UnusableInput:
    low, high = BRAIN_RANGE_ML
    return UnusableInput(
        volume.path,
        f"expected a head with a brain of {low:.0f} to {high:.0f} ml, brain extraction found {found}; "
        "give --brain-mask FILE, or --brain-mask none if the whole volume is brain",
    )
