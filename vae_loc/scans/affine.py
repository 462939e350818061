"""NIfTI header -> affine: which of sform, qform and pixdim counts, and what is odd about them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from vae_loc.errors import UnusableInput

VOXEL_SIZE_RANGE_MM = (0.05, 20.0)  # outside it the header's unit or affine is wrong
MIN_INDEPENDENCE = 1e-4  # det / product of the axes' lengths; 1 for a box, 0 for a plane
FORMS_TOLERANCE_VOXELS = 0.1  # sform and qform whose corners are nearer than this agree: both are rounded
MM_PER_UNIT = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}  # NIfTI xyzt_units: unknown, m, mm, micron


@np.errstate(all="ignore")  # what is not finite is refused by name
def affine_mm(path: Path, header: nib.Nifti1Header) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """Return the affine to RAS+ in mm, float64 (4, 4), and what the user should know of it.

    Sform, else qform, else pixdim, as nibabel chooses; metres and microns are converted.

    Raises
    ------
    UnusableInput : if it is singular, not finite, or of voxels that no scan of a head has.
    """
    unit = MM_PER_UNIT.get(int(header["xyzt_units"]) & 7)
    if unit is None:
        raise UnusableInput(path, f"expected mm, m or micron, the header's unit is {header['xyzt_units']}")
    shape = header.get_data_shape()[:3]
    affine, qform, fault = _forms(path, header)
    affine[:3] *= unit
    _check(path, affine)
    notes = []
    if fault is not None:
        notes.append(f"its qform is not valid ({fault}): sform was used, both are written back unchanged")
    if header["sform_code"] <= 0 and header["qform_code"] <= 0:
        notes.append("no sform or qform code: left and right are a guess from pixdim")
    if header["sform_code"] > 0 and qform is not None:
        tolerance_mm = FORMS_TOLERANCE_VOXELS * np.linalg.norm(affine[:3, :3], axis=0).min()
        if not corners_apart(qform[:3] * unit, affine[:3], shape) <= tolerance_mm:
            notes.append("sform and qform disagree: sform was used, both are written back unchanged")
    return affine, tuple(notes)


def corners_apart(first: NDArray[np.float64], second: NDArray[np.float64], shape: Sequence[int]) -> float:
    """Return the greatest distance, along an axis, between the corners of an array (I, J, K) under two affines."""
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in shape], [1])).reshape(4, -1)
    return float(np.abs((first - second) @ corners).max())


def _check(path: Path, affine: NDArray[np.float64]) -> None:
    if not np.isfinite(affine).all():
        raise UnusableInput(path, "expected a finite affine, found NaN or infinity; convert the original again")
    sizes = np.linalg.norm(affine[:3, :3], axis=0)
    independence = abs(np.linalg.det(affine[:3, :3])) / np.prod(sizes) if sizes.all() else 0.0
    if not independence > MIN_INDEPENDENCE:
        raise UnusableInput(path, "expected an invertible affine, found a singular one; convert the original again")
    low, high = VOXEL_SIZE_RANGE_MM
    if sizes.min() < low or sizes.max() > high:
        shown = " x ".join(f"{size:g}" for size in sizes)
        raise UnusableInput(path, f"expected voxels of {low:g} to {high:g} mm, found {shown} mm; check its units")


def _forms(path: Path, header: nib.Nifti1Header) -> tuple[NDArray[np.float64], NDArray[np.float64] | None, str | None]:
    """Return sform, else qform, else pixdim's affine; the qform if there is one; and what is wrong with it.

    A qform that is not valid matters only without a sform. A qfac of 0 means 1.
    """
    header = header.copy()
    if header["pixdim"][0] not in (-1, 1):
        header["pixdim"][0] = 1
    qform, fault = None, None
    try:
        qform = header.get_qform(coded=True)[0]
    except (nib.spatialimages.HeaderDataError, ValueError, np.linalg.LinAlgError) as error:
        if header["sform_code"] <= 0:
            raise UnusableInput(path, f"expected a valid qform, found: {error}") from error
        fault = str(error)
    if header["sform_code"] > 0:
        return np.asarray(header.get_sform(), dtype=np.float64), qform, fault
    if qform is not None:
        return np.array(qform, dtype=np.float64), qform, fault
    if not (header["pixdim"][1:4] > 0).all():
        shown = " x ".join(f"{size:g}" for size in header["pixdim"][1:4])
        raise UnusableInput(
            path, f"expected voxel sizes above 0, found {shown} and no sform; convert the original again"
        )
    return np.asarray(header.get_base_affine(), dtype=np.float64), qform, fault
