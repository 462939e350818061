"""NIfTI on disk <-> `Volume`. nibabel is the authority on geometry.

Axes, said once: arrays are (I, J, K) as on disk; affines map (i, j, k, 1) to RAS+ mm.
"""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from vae_loc.errors import UnusableInput, printable
from vae_loc.scans.nifti import Header, affine_mm, corners_apart, qform_mm, read_image
from vae_loc.scans.voxels import content, lost_slices, scaled
from vae_loc.system.writing import write_atomically
from vae_loc.vocabulary import BoolArray, FloatArray

MIN_VOXELS_PER_AXIS = 4  # fewer are a localizer or a cut, not a volume
MIN_SIDE_MM, MIN_VOLUME_ML = 30.0, 100.0  # of the field of view: less than a slab of any brain
GRID_TOLERANCE_VOXELS = 0.1  # corners of a mask and its scan farther apart than this are on two grids
WHOLE_TOLERANCE = 1e-3  # of a label stored with a slope
COMPRESSION, GZIP_WBITS = 2, 31  # isal's level: 3 takes four times as long for the same size; zlib's sign for gzip
SHOWN_VALUES = 5  # of odd labels, in a note


@dataclass(frozen=True)
class Volume:
    """One 3D scan as read from disk.

    Attributes
    ----------
    data : float32 (I, J, K), the scanner's own units; missing voxels are 0
    affine : float64 (4, 4), voxel indices to RAS+ mm
    header : the original NIfTI header, kept for writing on the same grid
    path : where it was read from
    missing : bool (I, J, K) where the file had NaN or infinity, or lost slices; None if nowhere
    warnings : what the user should know about the file, one line each
    lost : by axis, the slices of zeros inside the head (`voxels.lost_slices`)
    images : of a DICOM series, by slice k: InstanceNumber, or number of the frame, and SOPInstanceUID
    """

    data: FloatArray
    affine: NDArray[np.float64]
    header: Header
    path: Path
    missing: BoolArray | None = None
    warnings: tuple[str, ...] = ()
    lost: Mapping[int, NDArray[np.intp]] = field(default_factory=dict)
    images: Mapping[int, tuple[str, str]] = field(default_factory=dict)

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Length of each voxel axis in mm, (I, J, K)."""
        i, j, k = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(i), float(j), float(k)

    @property
    def voxel_mm3(self) -> float:
        """Volume of one voxel in mm^3; exact for sheared affines too."""
        return float(abs(np.linalg.det(self.affine[:3, :3])))

    def __repr__(self) -> str:
        """Return one line: name, shape and spacing."""
        spacing = " x ".join(f"{side:.3g}" for side in self.spacing_mm)
        return f"<Volume {self.path.name}: shape {self.data.shape}, {spacing} mm>"


def stem(path: Path) -> str:
    """File name without `.nii` or `.nii.gz`.

    >>> stem(Path("a/sub-01_T1w.nii.gz"))
    'sub-01_T1w'
    >>> stem(Path("~sub-01_T1w.nii"))
    '~sub-01_T1w'
    """
    for suffix in (".nii.gz", ".nii", ".hdr.gz", ".img.gz"):
        if path.name.lower().endswith(suffix):
            return path.name[: -len(suffix)]
    return path.stem


def read_volume(path: str | Path, *, volume: int | None = None) -> Volume:
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
    path = Path(path)
    header, stored = read_image(path, lambda header: checked_header(path, header, volume))
    read = volume_of(path, header, scaled(path, header, stored))
    count = math.prod(header.get_data_shape()[3:])
    return replace(read, warnings=(f"volume {volume} of {count} was used", *read.warnings)) if count > 1 else read


def volume_of(path: Path, header: Header, values: NDArray[np.float64]) -> Volume:
    """Return the volume of a header and its voxels (I, J, K), whose slope is applied.

    Raises
    ------
    UnusableInput : if the affine cannot be used, or the voxels have no content.
    """
    affine, geometry_warnings = affine_mm(path, header)
    voxel_mm3 = float(abs(np.linalg.det(affine[:3, :3])))
    data, missing, content_warnings = content(path, values, voxel_mm3)
    notes, lost = [], lost_slices(data)
    for axis, slices in lost.items():
        missing = np.zeros(data.shape, dtype=bool) if missing is None else missing
        missing[(np.s_[:],) * axis + (slices,)] = True
        shown = ", ".join(map(str, slices[:SHOWN_VALUES])) + (", ..." if len(slices) > SHOWN_VALUES else "")
        notes.append(f"{len(slices)} slices inside the head hold only zeros ({'IJK'[axis]} = {shown}) and are left out")
    return Volume(data, affine, header, path, missing, (*geometry_warnings, *content_warnings, *notes), lost)


def read_mask(path: Path, like: Volume) -> BoolArray:
    """Read a mask on the grid of `like`: bool (I, J, K), True where the file is > 0.

    Other values than 0 and 1 are logged.

    Raises
    ------
    UnusableInput : as `read_labels`, or if it is empty.
    """
    mask, notes = read_labels(path, like, what="the mask")
    if not mask.any():
        raise UnusableInput(path, "expected a mask with voxels > 0, found none")
    for note in notes:
        logging.getLogger(__name__).warning("warning: %s", printable(note))
    return mask


def read_labels(path: Path, like: Volume, *, what: str = "lesion") -> tuple[BoolArray, tuple[str, ...]]:
    """Read an annotation on the grid of `like`: bool (I, J, K), True where it is > 0, and notes for the user.

    Any non-negative whole numbers will do, {1, 2, 4} or 0/255 too; it may be empty. `what` names it in the notes.

    Raises
    ------
    UnusableInput : if it is the scan itself, damaged, of another shape or place, or holds fractions, negatives, NaN or
        infinity.
    """
    array = _on_grid_of(like, path)
    binary = array.dtype == np.uint8 and array.max() <= 1  # as most masks are; all values of others take longer
    values = np.array([0, 1], dtype=np.uint8) if binary else np.unique(array)
    if values[0] < 0:
        raise UnusableInput(path, f"expected labels >= 0, found {values[0]:g}; make lesions > 0 and all else 0")
    if (fraction := np.abs(values - np.round(values))).max() > WHOLE_TOLERANCE:
        fractional = values[fraction.argmax()]
        raise UnusableInput(path, f"expected whole-numbered labels, found {fractional:g}; threshold a probability map")
    odd = [f"{value:g}" for value in values if round(float(value)) not in (0, 1)]
    shown = ", ".join(odd[:SHOWN_VALUES]) + (", ..." if len(odd) > SHOWN_VALUES else "")
    note = (f"{path.name}: labels {shown} were taken as {what}",) if odd else ()
    return array > 0, note


def read_numbers(path: Path, like: Volume) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """Read a numbered mask on the grid of `like`: uint8, or uint16 from 256 numbers on, (I, J, K), 0 where nothing is.

    Raises
    ------
    UnusableInput : if it is damaged, or of another shape or place.
    """
    numbers = _on_grid_of(like, path).astype(np.uint16)
    return numbers if numbers.max() > 255 else numbers.astype(np.uint8)


def write_volume(path: str | Path, data: NDArray[np.generic], like: Volume) -> None:
    """Write `data` on the grid of `like`, whole or not at all.

    Parameters
    ----------
    path : `.nii` or `.nii.gz`
    data : (I, J, K) of `like`'s shape; bool and uint8 are stored as uint8, uint16 as it is, all else as float32
    like : whose affine, sform, qform, both codes and units are written unchanged

    The slope is 1, the intercept 0. Same data, same bytes: no time is stored.
    """
    path = Path(path)
    dtype = np.dtype({"bool": "u1", "uint8": "u1", "uint16": "<u2"}.get(data.dtype.name, "<f4"))
    header = like.header.as_byteswapped("<")
    header.set_data_shape(data.shape)
    header.set_data_dtype(dtype)
    header.set_slope_inter(1, 0)
    header["cal_min"], header["cal_max"] = 0, 0
    for name in ("descrip", "aux_file", "intent_name"):  # free text of the scan, which may name the patient
        header[name] = b""
    header["magic"], header["vox_offset"] = header.single_magic, header.single_vox_offset
    head = header.binaryblock + bytes(header.single_vox_offset - header.sizeof_hdr)
    voxels = np.asfortranarray(data, dtype=dtype).ravel(order="K").view(np.uint8)
    if path.name.lower().endswith(".gz"):
        from isal import isal_zlib

        # at one go: a compressor object of isal 1.9 was once seen to choose other matches, not reproduced since
        raw = isal_zlib.compress(np.concatenate([np.frombuffer(head, np.uint8), voxels]), COMPRESSION, GZIP_WBITS)
    else:
        raw = head + voxels.tobytes()
    write_atomically(path, raw)


def _on_grid_of(like: Volume, path: Path) -> NDArray[np.float64]:
    """Return the finite voxels of a mask or annotation that lies on the grid of `like`, with the axes of `like`.

    The axes of the file may be permuted and flipped, if its voxels lie where those of the scan do.
    """
    if os.path.exists(path) and os.path.exists(like.path) and os.path.samefile(path, like.path):
        raise UnusableInput(path, "expected a mask of the scan, found the scan itself; name another file")

    def choose(header: Header) -> int:
        index = _volume_index(path, header, None)
        shape = header.get_data_shape()[:3]
        if sorted(shape) != sorted(like.data.shape):
            raise _of_another_shape(path, shape, like)
        return index

    header, stored = read_image(path, choose, may_be_sparse=True)
    affine, _ = affine_mm(path, header)
    array = scaled(path, header, stored)
    shape, tolerance_mm = like.data.shape, GRID_TOLERANCE_VOXELS * min(like.spacing_mm)
    # a program that knows one form of a header draws on the qform, where the scan was read by its sform
    forms = like.affine, qform_mm(like.path, like.header)
    on_scan, on_qform = (of is not None and corners_apart(affine, of, shape) <= tolerance_mm for of in forms)
    if array.shape == shape and on_qform and not on_scan:
        said = f"{path.name} lies on the qform of {like.path.name}, whose sform differs: taken voxel by voxel"
        logging.getLogger(__name__).warning("warning: %s", printable(said))
        affine = like.affine
    elif array.shape != shape or not on_scan:
        turn = nib.orientations.io_orientation(np.linalg.inv(like.affine) @ affine)
        affine = affine @ nib.orientations.inv_ornt_aff(turn, array.shape)
        array = nib.orientations.apply_orientation(array, turn)
    if array.shape != shape:
        raise _of_another_shape(path, stored.shape, like)
    if (off_mm := corners_apart(affine, like.affine, shape)) > tolerance_mm:
        found = f"expected the affine of {like.path.name}, found corners {off_mm:.3g} mm away"
        raise UnusableInput(path, f"{found}; make the mask on the scan's own grid")
    if not np.isfinite(array).all():
        raise UnusableInput(path, "expected a mask of finite values, found NaN or infinity")
    return array


def _of_another_shape(path: Path, shape: tuple[int, ...], like: Volume) -> UnusableInput:
    found = f"expected a mask of shape {like.data.shape} like {like.path.name}, got {shape}"
    return UnusableInput(path, f"{found}; make the mask on the scan's own grid")


def checked_header(path: Path, header: Header, volume: int | None) -> int:
    """Return the number of the volume of the file to read, from 0.

    Raises
    ------
    UnusableInput : if the header is none of a scan of a head; as `read_volume`.
    """
    index = _volume_index(path, header, volume)
    affine, _ = affine_mm(path, header)
    shape = header.get_data_shape()[:3]
    sides_mm = np.linalg.norm(affine[:3, :3], axis=0) * shape
    found_ml = abs(np.linalg.det(affine[:3, :3])) * math.prod(shape) / 1000
    if min(shape) < MIN_VOXELS_PER_AXIS or sides_mm.min() < MIN_SIDE_MM or found_ml < MIN_VOLUME_ML:
        shown = " x ".join(f"{side:.3g}" for side in sides_mm)
        least = f"{MIN_VOXELS_PER_AXIS} voxels and {MIN_SIDE_MM:g} mm an axis, {MIN_VOLUME_ML:g} ml"
        raise UnusableInput(path, f"expected a volume that can hold a brain: {least}; got shape {shape}, {shown} mm")
    return index


def _volume_index(path: Path, header: Header, volume: int | None) -> int:
    shape = header.get_data_shape()
    while len(shape) > 4 and shape[-1] == 1:  # axes of one voxel
        shape = shape[:-1]
    if len(shape) not in (3, 4):
        raise UnusableInput(path, f"expected a 3D volume, got shape {shape}; convert the scan")
    count = math.prod(shape[3:])
    if count > 1 and volume is None:
        raise UnusableInput(path, f"expected a 3D volume, got shape {shape}; choose one with --volume")
    if not 0 <= (volume or 0) < count:
        raise UnusableInput(path, f"expected --volume 0 to {count - 1}, got {volume}")
    return volume or 0
