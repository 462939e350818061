"""NIfTI file -> header, affine and stored voxels, proved whole before a voxel is used.

nibabel stops before the gzip trailer and SimpleITK reads damaged files without an error; here
every byte is read, CRC and size are checked, and nothing is allocated that the header does not
justify. nibabel interprets the header.
"""

from __future__ import annotations

import functools
import gzip
import math
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO

import nibabel as nib
import numpy as np
from nibabel.filename_parser import splitext_addext, types_filenames
from nibabel.nifti1 import data_type_codes
from numpy.typing import NDArray

from vae_loc.errors import UnusableInput
from vae_loc.system.reading import CHUNK_BYTES, GZIP, looks_like, opened

Header = nib.Nifti1Header

MAX_VOXELS = 1_000_000_000  # of a file; the largest published brain MRI (0.1 mm) is near it
MAX_TAIL_BYTES = 1_000_000  # after the voxels, and fewer than a slice: more means that dim or type is wrong
MIN_TAIL_BYTES = 4096  # of slices so small that a disk block is larger
MAX_OFFSET = 100_000_000  # of the voxels: header extensions hold text
BOMB_BYTES, BOMB_RATIO = 64_000_000, 200  # scans deflate to a third or, stripped, to a tenth; zeros 1000-fold
HEADER_BYTES = 540  # of NIfTI-2, the longer one
HEADERS = ((nib.Nifti1Header, 348, b"1\0"), (nib.Nifti2Header, 540, b"2\0"))
SCALARS = (2, 4, 8, 16, 64, 256, 512, 768, 1024, 1280)  # codes of integers and floats up to 8 bytes
VOXEL_SIZE_RANGE_MM = (0.05, 20.0)  # outside it the header's unit or affine is wrong
MIN_INDEPENDENCE = 1e-4  # det / product of the axes' lengths; 1 for a box, 0 for a plane
FORMS_TOLERANCE_VOXELS = 0.1  # sform and qform whose corners are nearer than this agree: both are rounded
MM_PER_UNIT = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}  # NIfTI xyzt_units: unknown, m, mm, micron
Choose = Callable[[Header], int]  # refuses a header, or returns which 3D volume to read


def read_image(path: Path, choose: Choose, *, may_be_sparse: bool = False) -> tuple[Header, NDArray[np.generic]]:
    """Return the header and one volume, (I, J, K) as stored and not scaled, of a NIfTI file or .hdr/.img pair.

    Parameters
    ----------
    choose : is asked with the header alone, before a voxel is read
    may_be_sparse : do not take a large file that deflates extremely well for a bomb; for masks whose
        shape `choose` has compared with the scan's

    Raises
    ------
    UnusableInput : if the file is missing, damaged, cut off, or no NIfTI of integers or floats.
    """
    header, voxel_path = read_header(path, may_be_sparse=may_be_sparse), pair(path)[1]
    index = choose(header)
    dtype, shape = header.get_data_dtype(), header.get_data_shape()[:3]
    voxels = np.empty(math.prod(shape) * dtype.itemsize, dtype=np.uint8)
    first, end = int(header["vox_offset"]) + index * len(voxels), int(header["vox_offset"]) + _voxel_bytes(header)
    limit = end + min(MAX_TAIL_BYTES, max(MIN_TAIL_BYTES, len(voxels) // shape[2]))  # a slice or more is damage
    at = 0
    # read to the end, so that the gzip trailer is checked
    with opened(voxel_path, "a NIfTI file") as file:
        for part in _contents(voxel_path, file):
            low, high = max(first, at), min(first + len(voxels), at + len(part))
            if low < high:
                voxels[low - first : high - first] = np.frombuffer(part, np.uint8)[low - at : high - at]
            at += len(part)
            if at >= limit:
                needed = "expected the end of the file after the voxels"
                raise UnusableInput(voxel_path, f"{needed}, found more data; check its dimensions")
    if at < end:
        raise UnusableInput(voxel_path, f"expected {end - at} more bytes of voxels, found it cut off; copy it again")
    return header, voxels.view(dtype).reshape(shape, order="F")


def read_header(path: Path, *, may_be_sparse: bool = False) -> Header:
    """Read and check the header alone, and whether the file's length fits it.

    Raises
    ------
    UnusableInput : as `read_image`.
    """
    header_path, voxel_path = pair(path)
    with opened(header_path, "a NIfTI file") as file:
        head = next(_contents(header_path, file, HEADER_BYTES), b"")
    header = _header(header_path, head, paired=header_path != voxel_path)
    _check(path, header, paired=header_path != voxel_path)
    with opened(voxel_path, "a NIfTI file") as file:
        size = os.fstat(file.fileno()).st_size
        needed = int(header["vox_offset"]) + _voxel_bytes(header)
        packed = file.read(2) == GZIP
    if not packed and size < needed:
        raise UnusableInput(voxel_path, f"expected {needed} bytes, found {size}: cut off; copy it again")
    if packed and needed > max(BOMB_BYTES, BOMB_RATIO * size) and not may_be_sparse:
        raise UnusableInput(voxel_path, f"expected a scan, found {size} bytes that claim to hold {needed}; check it")
    return header


def pair(path: Path) -> tuple[Path, Path]:
    """Return the files that hold header and voxels: the same, or an .hdr and an .img.

    >>> pair(Path("a.img.gz"))
    (PosixPath('a.hdr.gz'), PosixPath('a.img.gz'))
    >>> pair(Path("~a.hdr"))[1]
    PosixPath('~a.img')
    """
    whole = path.absolute()  # nibabel takes a ~ at the start for a home
    if splitext_addext(whole)[1].lower() not in (".hdr", ".img"):
        return path, path
    names = types_filenames(whole, (("header", ".hdr"), ("image", ".img")))
    return path.with_name(Path(names["header"]).name), path.with_name(Path(names["image"]).name)


def _contents(path: Path, file: IO[bytes], size: int = CHUNK_BYTES) -> Iterator[bytes]:
    """Yield the content of a file in parts of at most `size` bytes; gzip is unpacked, and its CRC and size checked."""
    from isal import igzip, isal_zlib

    start, name = file.read(len(GZIP)), path.name.lower()
    if start != GZIP and name.endswith((".nii.gz", ".hdr.gz", ".img.gz")):
        kind = looks_like(start + file.read(HEADER_BYTES - len(start)))
        raise UnusableInput(path, f"expected gzip as the name says, found {kind}; rename it or copy it again")
    if start == GZIP and name.endswith((".nii", ".hdr", ".img")):
        raise UnusableInput(path, f"expected plain NIfTI as the name says, found gzip; rename it to {path.name}.gz")
    file.seek(0)
    try:
        content = igzip.IGzipFile(fileobj=file, mode="rb") if start == GZIP else file
        yield from iter(functools.partial(content.read, size), b"")
    except (gzip.BadGzipFile, EOFError, isal_zlib.error) as error:  # type: ignore[misc]
        fault = f"expected a whole gzip file, found it damaged ({error}); copy or download it again"
        raise UnusableInput(path, fault) from error


def _header(path: Path, head: bytes, *, paired: bool) -> Header:
    for header_class, size, version in HEADERS:
        order = next((o for o in "<>" if int.from_bytes(head[:4], "little" if o == "<" else "big") == size), None)
        if order is None or len(head) < size:
            continue
        header: Header = header_class(head[:size], endianness=order, check=False)  # type: ignore[no-untyped-call]
        magic = head[344:348] if size == 348 else head[4:8]
        if magic == (b"ni" if paired else b"n+") + version:
            return header
        if magic == (b"n+" if paired else b"ni") + version:
            need, content = ("an .hdr/.img pair", "a single file") if paired else ("a single file", "an .hdr/.img pair")
            raise UnusableInput(path, f"expected the header of {need}, found that of {content}; convert it again")
    content = "gzip inside gzip; unpack it once" if head.startswith(GZIP) else looks_like(head)
    raise UnusableInput(path, f"expected a NIfTI file (.nii or .nii.gz), found {content}")


def _check(path: Path, header: Header, *, paired: bool) -> None:
    """Refuse types, dimensions and offsets that no scan has, in Python's integers, before anything is allocated."""
    code = int(header["datatype"])
    if code not in SCALARS:
        name = data_type_codes.label[code] if code in data_type_codes else f"the unknown type {code}"
        raise UnusableInput(path, f"expected integer or float voxels, found {name}; convert the scan")
    bits = 8 * header.get_data_dtype().itemsize
    if int(header["bitpix"]) != bits:
        raise UnusableInput(path, f"expected {bits} bits a voxel for its type, the header says {header['bitpix']}")
    count = int(header["dim"][0])
    if not 1 <= count <= 7:
        raise UnusableInput(path, f"expected 1 to 7 dimensions, the header says {count}; copy or convert it again")
    shape = tuple(int(n) for n in header["dim"][1 : 1 + count])
    if min(shape) < 1 or math.prod(shape) > MAX_VOXELS:
        raise UnusableInput(path, f"expected 1 to {MAX_VOXELS:.0e} voxels, the header says {shape}")
    least = 0 if paired else int(header.single_vox_offset)
    if float(header["vox_offset"]) == 0:  # some programs leave it out where it can be only one
        header["vox_offset"] = least
    offset = float(header["vox_offset"])
    if not least <= offset <= MAX_OFFSET or offset != int(offset):
        raise UnusableInput(path, f"expected voxels at byte {least} or later, the header says at byte {offset:g}")


def _voxel_bytes(header: Header) -> int:
    return int(math.prod(header.get_data_shape())) * int(header["bitpix"]) // 8


@np.errstate(all="ignore")  # what is not finite is refused by name
def affine_mm(path: Path, header: Header) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """Return the affine to RAS+ in mm, float64 (4, 4), and notes for the user on it.

    Sform, else qform, else pixdim, as nibabel chooses; metres and microns are converted.

    Raises
    ------
    UnusableInput : if it is singular, not finite, or of voxels that no scan of a head has.
    """
    unit = MM_PER_UNIT.get(int(header["xyzt_units"]) & 7)
    if unit is None:
        raise UnusableInput(path, f"expected mm, m or micron, the header's unit is {header['xyzt_units']}")
    affine, qform, fault = _forms(path, header)
    affine[:3] *= unit
    # refused if no scan of a head has it
    if not np.isfinite(affine).all():
        raise UnusableInput(path, "expected a finite affine, found NaN or infinity; convert the original again")
    sizes = np.linalg.norm(affine[:3, :3], axis=0)
    if not (sizes.all() and abs(np.linalg.det(affine[:3, :3])) / np.prod(sizes) > MIN_INDEPENDENCE):
        raise UnusableInput(path, "expected an invertible affine, found a singular one; convert the original again")
    low, high = VOXEL_SIZE_RANGE_MM
    if sizes.min() < low or sizes.max() > high:
        shown = " x ".join(f"{size:g}" for size in sizes)
        raise UnusableInput(path, f"expected voxels of {low:g} to {high:g} mm, found {shown} mm; check its units")
    notes = []
    if fault is not None:
        notes.append(f"its qform is not valid ({fault}): sform was used, both are written back unchanged")
    if header["sform_code"] <= 0 and header["qform_code"] <= 0:
        notes.append("no sform or qform code: left and right are a guess from pixdim")
    if header["sform_code"] > 0 and qform is not None:
        shape = header.get_data_shape()[:3]
        if not corners_apart(qform[:3] * unit, affine[:3], shape) <= FORMS_TOLERANCE_VOXELS * sizes.min():
            notes.append("sform and qform disagree: sform was used, both are written back unchanged")
    return affine, tuple(notes)


def qform_mm(path: Path, header: Header) -> NDArray[np.float64] | None:
    """Return the affine of a qform beside a sform, as `affine_mm`; None without both."""
    if header["sform_code"] <= 0 or header["qform_code"] <= 0:
        return None
    header = header.copy()
    header["sform_code"] = 0
    try:
        return affine_mm(path, header)[0]
    except UnusableInput:  # a qform that is not valid
        return None


def corners_apart(first: NDArray[np.float64], second: NDArray[np.float64], shape: Sequence[int]) -> float:
    """Return the greatest distance, along an axis, between the corners of an array (I, J, K) under two affines."""
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in shape], [1])).reshape(4, -1)
    return float(np.abs((first - second) @ corners).max())


def _forms(path: Path, header: Header) -> tuple[NDArray[np.float64], NDArray[np.float64] | None, str | None]:
    """Return sform, else qform, else pixdim's affine; the qform if there is one; and what is wrong with it.

    A qform that is not valid matters only without a sform. A qfac of 0 means 1.
    """
    header = header.copy()
    header["sform_code"] = max(0, header["sform_code"])
    if header["pixdim"][0] not in (-1, 1):
        header["pixdim"][0] = 1
    qform, fault = None, None
    try:
        qform = header.get_qform(coded=True)[0]
    except (nib.spatialimages.HeaderDataError, ValueError, np.linalg.LinAlgError) as error:
        if not header["sform_code"]:
            raise UnusableInput(path, f"expected a valid qform, found: {error}") from error
        fault = str(error)
    if not header["sform_code"] and qform is None and not (header["pixdim"][1:4] > 0).all():
        shown = " x ".join(f"{size:g}" for size in header["pixdim"][1:4])
        raise UnusableInput(path, f"expected voxel sizes above 0, found {shown} and no sform; convert the scan again")
    return np.array(header.get_best_affine(), dtype=np.float64), qform, fault
