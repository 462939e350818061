"""NIfTI on disk <-> `Volume`. nibabel is the authority on geometry; writes are atomic.

Axes, said once: arrays are (I, J, K) as on disk; affines map (i, j, k, 1) to RAS+ mm.
"""

from __future__ import annotations

import contextlib
import errno
import gzip
import math
import os
import stat
import tempfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from vae_loc.errors import UnusableInput

FloatArray = NDArray[np.float32]
BoolArray = NDArray[np.bool_]
Header = nib.Nifti1Header

MAX_VOXELS = 1_000_000_000  # 4 GB as float32; the largest published brain MRI (0.1 mm) is near it
MAX_TAIL_BYTES = 1_000_000  # bytes after the voxels that are read to reach the gzip trailer
VOXEL_SIZE_RANGE_MM = (0.05, 20.0)  # outside it the header's unit or affine is wrong
MIN_VOXELS_PER_AXIS = 4  # fewer are a localizer or a cut, not a volume
MAX_MISSING_SHARE = 0.5  # of the voxels; beyond it there is no scan left to judge
FORMS_TOLERANCE_MM = 0.01  # sform and qform nearer than this agree
MM_PER_UNIT = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}  # NIfTI xyzt_units: unknown, m, mm, micron
SIGNATURES = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\x89PNG": "PNG",
    b"PK\x03\x04": "zip",
    b"<!DO": "HTML",
    b"<htm": "HTML",
    b"version https://git-lfs": "a Git-LFS pointer (run `git lfs pull`)",
    b"\x00\x00\x00\x01\x00\x00\x01": "MGH",
}


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
    image = _parse(path, _read_bytes(path))
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
    image = _parse(path, _read_bytes(path))
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
    if off_mm > 1e-3 * max(1.0, *like.spacing_mm):
        raise UnusableInput(
            path,
            f"expected the affine of {like.path.name}, found corners {off_mm:.3g} mm away; "
            "make the mask on the scan's own grid",
        )
    if not np.isfinite(array).all():
        raise UnusableInput(path, "expected a mask of finite values, found NaN or infinity")
    mask: BoolArray = array > 0
    if not mask.any():
        raise UnusableInput(path, "expected a mask with voxels > 0, found none")
    return mask


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
    image = _image_class(header)(data.astype(dtype), header.get_best_affine(), header)
    raw = image.to_bytes()
    if path.name.lower().endswith(".gz"):
        from isal import igzip

        raw = igzip.compress(raw, compresslevel=2, mtime=0)
    write_atomically(path, raw)


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file whole or not at all: temporary name, fsync, rename.

    Raises
    ------
    UnusableInput : if the folder cannot be made or written.
    """
    temporary: str | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=".vae-loc-", suffix=".tmp", dir=path.parent)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
        temporary = None
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise UnusableInput(path, f"could not be written: {reason}; choose another place with -o") from error
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):
                os.unlink(temporary)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _read_bytes(path: Path) -> bytes:
    """Return the whole decompressed file, its gzip CRC and size checked."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise UnusableInput(path, "expected a NIfTI file, found a folder or device")
        with open(path, "rb") as file:
            start = file.read(64)
            file.seek(0)
            if start[:2] == b"\x1f\x8b":
                return _decompressed(path, cast("IO[bytes]", file))
            return file.read(_size_limit(path, start + file.read(540)[64:], file))
    except OSError as error:
        hint = "check the name" if error.errno == errno.ENOENT else "check the file"
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise UnusableInput(path, f"could not be read: {reason}; {hint}") from error


def _decompressed(path: Path, file: IO[bytes]) -> bytes:
    from isal import igzip, isal_zlib

    try:
        with igzip.IGzipFile(fileobj=file, mode="rb") as stream:
            head = stream.read(540)
            limit = _size_limit(path, head, None)
            body = stream.read(limit - len(head))
            if len(head) + len(body) == limit and stream.read(1):
                raise UnusableInput(path, "expected the end of the file after the voxels, found more data")
    except (EOFError, zlib.error, isal_zlib.error, gzip.BadGzipFile) as error:
        raise UnusableInput(
            path, f"expected a whole gzip file, found it damaged ({error}); copy or download it again"
        ) from error
    return head + body


def _size_limit(path: Path, head: bytes, file: IO[bytes] | None) -> int:
    """Return how many bytes may be read, from the header alone, before anything is allocated."""
    if file is not None:
        file.seek(0)
    header = _header(path, head)
    shape = [int(n) for n in header["dim"][1 : 1 + max(0, min(7, int(header["dim"][0])))]]
    voxels = 1
    for n in shape:
        voxels *= n
    if not shape or min(shape) < 1 or voxels > MAX_VOXELS:
        raise UnusableInput(path, f"expected 1 to {MAX_VOXELS:.0e} voxels, the header says {tuple(shape)}")
    offset = max(float(header["vox_offset"]), float(header["sizeof_hdr"]))
    if not offset < MAX_TAIL_BYTES * 100:
        raise UnusableInput(path, f"expected voxels after the header, the header says at byte {offset:g}")
    return int(offset) + voxels * max(1, int(header["bitpix"]) // 8) + MAX_TAIL_BYTES


def _header(path: Path, head: bytes) -> Header:
    for header_class, size, magics in (
        (nib.Nifti1Header, 348, (b"n+1",)),
        (nib.Nifti2Header, 540, (b"n+2",)),
    ):
        if len(head) < size:
            continue
        for order in ("<", ">"):
            if int(np.frombuffer(head[:4], order + "i4")[0]) == size:
                header = header_class(head[:size], endianness=order, check=False)
                if bytes(header["magic"])[:3] in magics and 1 <= int(header["dim"][0]) <= 7:
                    return header
    raise UnusableInput(path, f"expected a NIfTI file (.nii or .nii.gz), found {_looks_like(head)}")


def _looks_like(head: bytes) -> str:
    if not head:
        return "an empty file"
    for signature, name in SIGNATURES.items():
        if head.startswith(signature):
            return name
    if head[128:132] == b"DICM":
        return "DICOM (convert it with dcm2niix)"
    if head[:4] in (b"\x5c\x01\x00\x00", b"\x00\x00\x01\x5c"):
        return "an Analyze file, a .hdr/.img pair or a damaged NIfTI header"
    printable_share = np.mean([32 <= b < 127 or b in b"\r\n\t" for b in head])
    return "text" if printable_share > 0.95 else "something else"


def _image_class(header: Header) -> type[nib.Nifti1Image]:
    is_nifti2 = isinstance(header, nib.Nifti2Header)
    return nib.Nifti2Image if is_nifti2 else nib.Nifti1Image


def _parse(path: Path, raw: bytes) -> nib.Nifti1Image:
    header = _header(path, raw[:540])
    name = header.get_data_dtype().name if int(header["datatype"]) in header._data_type_codes else ""
    kind = np.dtype(name).kind if name and not name.startswith("void") else "V"
    if kind not in "iuf" or np.dtype(name).itemsize > 8:
        raise UnusableInput(
            path, f"expected integer or float voxels, found {name or 'an unknown type'}; convert the scan"
        )
    needed = int(header["vox_offset"]) + math.prod(int(n) for n in header.get_data_shape()) * (
        int(header["bitpix"]) // 8
    )
    if len(raw) < needed:
        raise UnusableInput(path, f"expected {needed} bytes, found {len(raw)}: cut off; copy it again")
    try:
        return _image_class(header).from_bytes(raw)
    except (nib.spatialimages.HeaderDataError, ValueError, OverflowError) as error:
        raise UnusableInput(path, f"expected a valid NIfTI header, found: {error}") from error


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
