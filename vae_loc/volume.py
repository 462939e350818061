"""NIfTI on disk <-> `Volume`. nibabel is the authority on geometry.

Axes, said once: arrays are (I, J, K) as on disk; affines map (i, j, k, 1) to RAS+ mm.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from vae_loc.errors import UnusableInput
from vae_loc.files import write_atomically
from vae_loc.nifti import Header, image_class, read_image

FloatArray = NDArray[np.float32]
BoolArray = NDArray[np.bool_]
VOXEL_SIZE_RANGE_MM = (0.05, 20.0)  # outside it the header's unit or affine is wrong
MIN_VOXELS_PER_AXIS = 4  # fewer are a localizer or a cut, not a volume
MAX_MISSING_SHARE = 0.5  # of the voxels; beyond it there is no scan left to judge
GRID_TOLERANCE_MM = 1e-3  # corners of a mask and its scan farther apart than this are on two grids
WHOLE_TOLERANCE = 1e-3  # of a label stored with a slope
SHOWN_VALUES = 5  # of odd labels, in a note
FORMS_TOLERANCE_MM = 0.01  # sform and qform nearer than this agree
MM_PER_UNIT = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}  # NIfTI xyzt_units: unknown, m, mm, micron


@dataclass(frozen=True)
class Volume:
    """One 3D scan as read from disk.

    Attributes
    ----------
    data : float32 (I, J, K), the scanner's own units; missing voxels are 0
    affine : float64 (4, 4), voxel indices to RAS+ mm
    header : the original NIfTI header, kept for writing on the same grid
    path : where it was read from
    missing : bool (I, J, K) where the file had NaN or infinity, or None if nowhere
    warnings : what the user should know about the file, one line each
    """

    data: FloatArray
    affine: NDArray[np.float64]
    header: Header
    path: Path
    missing: BoolArray | None = None
    warnings: tuple[str, ...] = ()

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Length of each voxel axis in mm, (I, J, K)."""
        i, j, k = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(i), float(j), float(k)

    @property
    def voxel_mm3(self) -> float:
        """Volume of one voxel in mm^3; exact for sheared affines too."""
        return float(abs(np.linalg.det(self.affine[:3, :3])))


def stem(path: Path) -> str:
    """File name without `.nii` or `.nii.gz`.

    >>> stem(Path("a/sub-01_T1w.nii.gz"))
    'sub-01_T1w'
    """
    name = path.name
    for suffix in (".nii.gz", ".nii"):
        if name.lower().endswith(suffix):
            return name[: -len(suffix)]
    return path.stem


def read_volume(path: Path, *, volume: int | None = None) -> Volume:
    """Read one 3D NIfTI-1 or NIfTI-2 volume, whole and checked.

    Parameters
    ----------
    path : a `.nii` or `.nii.gz` file
    volume : which volume of a 4D file, from 0; needed only if it holds several

    Raises
    ------
    UnusableInput : if the file is missing, damaged, not a 3D scalar NIfTI, or without content.

    Does not reorient or resample: `data[i, j, k]` is the voxel (i, j, k) of the file.
    """
    image = read_image(path)
    array, found = _scalars(path, image, volume)
    affine, geometry_warnings = _geometry(path, image.header)
    data, missing, content_warnings = _content(path, array)
    return Volume(data, affine, image.header, path, missing, found + geometry_warnings + content_warnings)


def read_mask(path: Path, like: Volume) -> BoolArray:
    """Read a mask on the grid of `like`: bool (I, J, K), True where the file is > 0.

    Raises
    ------
    UnusableInput : if the file is damaged, of another shape or place than `like`, or empty.
    """
    mask: BoolArray = _on_grid_of(like, path) > 0
    if not mask.any():
        raise UnusableInput(path, "expected a mask with voxels > 0, found none")
    return mask


def read_labels(path: Path, like: Volume) -> tuple[BoolArray, tuple[str, ...]]:
    """Read an annotation on the grid of `like`: bool (I, J, K), True where it is > 0, and notes for the user.

    Any non-negative whole numbers will do, {1, 2, 4} or 0/255 too; it may be empty.

    Raises
    ------
    UnusableInput : if it is damaged, of another shape or place, or holds fractions, negatives, NaN or infinity.
    """
    array = _on_grid_of(like, path)
    values = np.unique(array)
    if values[0] < 0:
        raise UnusableInput(path, f"expected labels >= 0, found {values[0]:g}; make lesions > 0 and all else 0")
    if (fraction := np.abs(values - np.round(values))).max() > WHOLE_TOLERANCE:
        found = values[fraction.argmax()]
        raise UnusableInput(path, f"expected whole-numbered labels, found {found:g}; threshold a probability map first")
    odd = [f"{value:g}" for value in values if round(float(value)) not in (0, 1)]
    shown = ", ".join(odd[:SHOWN_VALUES]) + (", ..." if len(odd) > SHOWN_VALUES else "")
    note = (f"{path.name}: labels {shown} were taken as lesion",) if odd else ()
    return array > 0, note


def write_volume(path: Path, data: NDArray[np.generic], like: Volume) -> None:
    """Write `data` on the grid of `like`, whole or not at all.

    Parameters
    ----------
    path : `.nii` or `.nii.gz`
    data : (I, J, K) of `like`'s shape; bool and uint8 are stored as uint8, all else as float32
    like : whose affine, sform, qform, both codes and units are written unchanged

    The slope is 1, the intercept 0. Same data, same bytes: no time is stored.
    """
    dtype = np.uint8 if data.dtype in (np.bool_, np.uint8) else np.float32
    header = like.header.copy()
    header.set_data_shape(data.shape)
    header.set_data_dtype(dtype)
    header.set_slope_inter(1, 0)
    header["cal_min"], header["cal_max"] = 0, 0
    header.extensions.clear()  # they describe the scan, and may name the patient
    image = image_class(header)(data.astype(dtype), header.get_best_affine(), header)
    raw = image.to_bytes()
    if path.name.lower().endswith(".gz"):
        from isal import igzip

        raw = igzip.compress(raw, compresslevel=2, mtime=0)
    write_atomically(path, raw)


def _on_grid_of(like: Volume, path: Path) -> NDArray[np.float64]:
    """Return the finite voxels of a mask or annotation that lies on the grid of `like`."""
    image = read_image(path)
    array, _ = _scalars(path, image, None)
    affine, _ = _geometry(path, image.header)
    if array.shape != like.data.shape:
        raise UnusableInput(
            path,
            f"expected a mask of shape {like.data.shape} like {like.path.name}, got {array.shape}; "
            "make the mask on the scan's own grid",
        )
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in array.shape], [1])).reshape(4, -1)
    off_mm = float(np.abs((affine - like.affine) @ corners).max())
    if off_mm > GRID_TOLERANCE_MM:
        raise UnusableInput(
            path,
            f"expected the affine of {like.path.name}, found corners {off_mm:.3g} mm away; "
            "make the mask on the scan's own grid",
        )
    if not np.isfinite(array).all():
        raise UnusableInput(path, "expected a mask of finite values, found NaN or infinity")
    return array


def _scalars(path: Path, image: nib.Nifti1Image, volume: int | None) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """Return the scaled voxels of the one 3D volume asked for."""
    shape = image.shape
    slope, intercept = image.header["scl_slope"], image.header["scl_inter"]
    if np.isfinite(slope) and slope != 0 and not np.isfinite(intercept):
        raise UnusableInput(path, f"expected a finite intercept, the header says {intercept}")
    count = int(np.prod(shape[3:], dtype=int))
    if len(shape) < 3 or (len(shape) > 4 and count > 1):
        raise UnusableInput(path, f"expected a 3D volume, got shape {shape}")
    if count > 1 and volume is None:
        raise UnusableInput(path, f"expected a 3D volume, got shape {shape}; choose one with --volume")
    if not 0 <= (volume or 0) < count:
        raise UnusableInput(path, f"expected --volume 0 to {count - 1}, got {volume}")
    if min(shape[:3]) < MIN_VOXELS_PER_AXIS:
        raise UnusableInput(path, f"expected at least {MIN_VOXELS_PER_AXIS} voxels an axis, got shape {shape}")
    picked = (slice(None),) * 3 + np.unravel_index(volume or 0, shape[3:] or (1,))[: len(shape) - 3]
    note = (f"volume {volume} of {count} was used",) if count > 1 else ()
    with np.errstate(over="ignore", invalid="ignore"):
        return np.asanyarray(image.dataobj[picked]), note


def _geometry(path: Path, header: Header) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """Return the affine in mm: sform, else qform, else pixdim, as nibabel chooses."""
    unit = MM_PER_UNIT.get(int(header["xyzt_units"]) & 7)
    if unit is None:
        raise UnusableInput(path, f"expected mm, m or micron, the header's unit is {header['xyzt_units']}")
    try:
        affine = np.asarray(header.get_best_affine(), dtype=np.float64)
        qform = header.get_qform(coded=True)[0]
    except (nib.spatialimages.HeaderDataError, ValueError, np.linalg.LinAlgError) as error:
        raise UnusableInput(path, f"expected a valid qform, found: {error}") from error
    affine[:3] *= unit
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-9:
        raise UnusableInput(path, "expected an invertible affine, found a singular or non-finite one")
    sizes = np.linalg.norm(affine[:3, :3], axis=0)
    low, high = VOXEL_SIZE_RANGE_MM
    if sizes.min() < low or sizes.max() > high:
        found = " x ".join(f"{size:g}" for size in sizes)
        raise UnusableInput(path, f"expected voxels of {low:g} to {high:g} mm, found {found} mm")
    notes = []
    if not header["sform_code"] and not header["qform_code"]:
        notes.append("no sform or qform code: left and right are a guess from pixdim")
    if header["sform_code"] and qform is not None and np.abs(qform[:3] * unit - affine[:3]).max() > FORMS_TOLERANCE_MM:
        notes.append("sform and qform disagree: sform was used, both are written back unchanged")
    return affine, tuple(notes)


def _content(path: Path, array: NDArray[np.float64]) -> tuple[FloatArray, BoolArray | None, tuple[str, ...]]:
    """Return float32 data with missing voxels at 0, or refuse a volume without content."""
    limit = float(np.finfo(np.float32).max)
    finite = np.isfinite(array) if array.dtype.kind == "f" else np.ones(array.shape, dtype=bool)
    missing_count = int(array.size - np.count_nonzero(finite))
    if missing_count > MAX_MISSING_SHARE * array.size:
        raise UnusableInput(path, f"expected a scan, {missing_count} of {array.size} voxels are NaN or infinite")
    data = np.clip(np.where(finite, array, 0), -limit, limit).astype(np.float32)
    values = data[finite]
    low, high = float(values.min()), float(values.max())
    if low == high:
        raise UnusableInput(path, f"expected a scan, every voxel is {low:g}")
    if missing_count == 0:
        return data, None, ()
    note = f"{missing_count} voxels are NaN or infinite and were treated as missing"
    return data, ~finite, (note,)
