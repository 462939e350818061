"""NIfTI file -> parsed image, proved whole before a voxel is used.

nibabel stops before the gzip trailer and SimpleITK reads damaged files without an error; here
every byte is read, and CRC and size are checked.
"""

from __future__ import annotations

import errno
import gzip
import math
import os
import stat
import zlib
from pathlib import Path
from typing import IO, cast

import nibabel as nib
import numpy as np

from vae_loc.errors import UnusableInput

Header = nib.Nifti1Header

MAX_VOXELS = 1_000_000_000  # 4 GB as float32; the largest published brain MRI (0.1 mm) is near it
MAX_TAIL_BYTES = 1_000_000  # bytes after the voxels that are read to reach the gzip trailer
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


def read_image(path: Path) -> nib.Nifti1Image:
    """Read a NIfTI-1 or NIfTI-2 file of real scalars into memory.

    Raises
    ------
    UnusableInput : if the file is missing, damaged, cut off, or no NIfTI of integers or floats.
    """
    return _parse(path, _read_bytes(path))


def image_class(header: Header) -> type[nib.Nifti1Image]:
    """Return nibabel's class for a NIfTI-1 or NIfTI-2 header."""
    return nib.Nifti2Image if isinstance(header, nib.Nifti2Header) else nib.Nifti1Image


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
    except (EOFError, zlib.error, isal_zlib.error, gzip.BadGzipFile) as error:  # type: ignore[misc]
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
                header: Header = header_class(head[:size], endianness=order, check=False)  # type: ignore[no-untyped-call]
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
        return image_class(header).from_bytes(raw)
    except (nib.spatialimages.HeaderDataError, ValueError, OverflowError) as error:
        raise UnusableInput(path, f"expected a valid NIfTI header, found: {error}") from error
