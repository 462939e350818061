"""NIfTI file -> header and stored voxels, proved whole before a voxel is used.

nibabel stops before the gzip trailer and SimpleITK reads damaged files without an error; here
every byte is read, CRC and size are checked, and nothing is allocated that the header does not
justify. nibabel interprets the header.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from vae_loc.errors import UnusableInput
from vae_loc.system.file_types import GZIP, looks_like
from vae_loc.system.reading import CHUNK_BYTES, opened

Header = nib.Nifti1Header

MAX_VOXELS = 1_000_000_000  # of a file; the largest published brain MRI (0.1 mm) is near it
MAX_TAIL_BYTES = 1_000_000  # after the voxels, and fewer than a slice: more means that dim or type is wrong
MIN_TAIL_BYTES = 4096  # of slices so small that a disk block is larger
MAX_OFFSET = 100_000_000  # of the voxels: header extensions hold text
BOMB_BYTES, BOMB_RATIO = 64_000_000, 200  # scans deflate to a third or, stripped, to a tenth; zeros 1000-fold
HEADERS = ((nib.Nifti1Header, 348, b"1\0"), (nib.Nifti2Header, 540, b"2\0"))
SCALARS = {2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4", 1024: "i8", 1280: "u8"}
REFUSED_TYPES = {1: "bits", 32: "complex64", 128: "RGB", 1536: "float128", 1792: "complex128", 2048: "complex256",
                 2304: "RGBA"}  # fmt: skip
PAIRS = {".hdr": ".img", ".img": ".hdr"}
Choose = Callable[[Header], int]  # refuses a header, or returns which 3D volume to read


@dataclass(frozen=True)
class Image:
    """A header, and the voxels of one volume as they are stored: (I, J, K), not scaled."""

    header: Header
    stored: NDArray[np.generic]


class _Stream(Protocol):
    def read(self, size: int) -> bytes: ...


def read_image(path: Path, choose: Choose, *, may_be_sparse: bool = False) -> Image:
    """Read one volume of a NIfTI-1 or NIfTI-2 file, or .hdr/.img pair, of real scalars.

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
    dtype = np.dtype(SCALARS[int(header["datatype"])]).newbyteorder(header.endianness)
    shape = header.get_data_shape()[:3]
    size, total = math.prod(shape) * dtype.itemsize, _voxel_bytes(header)
    start = int(header["vox_offset"])
    with opened(voxel_path, "a NIfTI file") as file:
        stream = _stream(voxel_path, file)
        _skip(voxel_path, stream, start + index * size)
        voxels = np.empty(size, dtype=np.uint8)
        _fill(voxel_path, stream, voxels)
        _skip(voxel_path, stream, total - (index + 1) * size)
        _read_tail(voxel_path, stream, size // shape[2])
    return Image(header, voxels.view(dtype).reshape(shape, order="F"))


def read_header(path: Path, *, may_be_sparse: bool = False) -> Header:
    """Read and check the header alone, and whether the file's length fits what it says.

    Raises
    ------
    UnusableInput : as `read_image`.
    """
    header_path, voxel_path = pair(path)
    with opened(header_path, "a NIfTI file") as file:
        header = _header(header_path, _stream(header_path, file).read(540), paired=header_path != voxel_path)
    _check_type(path, header)
    _check_size(path, header, paired=header_path != voxel_path)
    with opened(voxel_path, "a NIfTI file") as file:
        size = os.fstat(file.fileno()).st_size
        needed = int(header["vox_offset"]) + _voxel_bytes(header)
        packed = file.read(2) == GZIP
    if not packed and size < needed:
        raise UnusableInput(voxel_path, f"expected {needed} bytes, found {size}: cut off; copy it again")
    if packed and needed > max(BOMB_BYTES, BOMB_RATIO * size) and not may_be_sparse:
        raise UnusableInput(
            voxel_path, f"expected a scan, found {size} bytes that claim to hold {needed}; check the file"
        )
    return header


def pair(path: Path) -> tuple[Path, Path]:
    """Return the files that hold header and voxels: the same, or an .hdr and an .img.

    >>> pair(Path("a.img.gz"))
    (PosixPath('a.hdr.gz'), PosixPath('a.img.gz'))
    """
    packed = path.suffix if path.suffix.lower() == ".gz" else ""
    bare = Path(str(path)[: len(str(path)) - len(packed)])
    if bare.suffix.lower() not in PAIRS:
        return path, path
    other = PAIRS[bare.suffix.lower()]
    partner = bare.with_suffix(other.upper() if bare.suffix.isupper() else other)
    partner = partner.with_name(partner.name + packed)
    return (path, partner) if bare.suffix.lower() == ".hdr" else (partner, path)


class _Gunzip:
    """The decompressed bytes of a gzip file of one or more members; a class because it keeps its place.

    CRC and size of every member are checked when its end is read.
    """

    def __init__(self, path: Path, file: IO[bytes]) -> None:
        from isal import isal_zlib

        self._path, self._file, self._zlib = path, file, isal_zlib
        self._member = isal_zlib.decompressobj(wbits=31)
        self._rest = b""

    def read(self, size: int) -> bytes:
        """Return `size` bytes, fewer only at the end of the file."""
        parts: list[bytes] = []
        while size > 0:
            self._rest = self._rest or self._file.read(CHUNK_BYTES)
            if self._member.eof and not self._next_member():
                break
            part = self._inflate(size)
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    def _next_member(self) -> bool:
        if not self._rest:
            return False
        if len(self._rest) < len(GZIP):
            self._rest += self._file.read(CHUNK_BYTES)
        if not self._rest.startswith(GZIP):
            raise self._damaged("bytes after its end that are not gzip")
        self._member = self._zlib.decompressobj(wbits=31)
        return True

    def _inflate(self, size: int) -> bytes:
        given = self._rest
        try:
            part: bytes = self._member.decompress(given, size)
        except self._zlib.error as error:  # type: ignore[misc]
            raise self._damaged(str(error)) from error
        self._rest = self._member.unused_data if self._member.eof else self._member.unconsumed_tail
        if not given and not part and not self._member.eof:
            raise self._damaged("cut off before its trailer")
        return part

    def _damaged(self, fault: str) -> UnusableInput:
        return UnusableInput(
            self._path, f"expected a whole gzip file, found it damaged ({fault}); copy or download it again"
        )


def _stream(path: Path, file: IO[bytes]) -> _Stream:
    """Return the reader of a file's content; the first bytes must be of the kind that the name states."""
    start = file.read(len(GZIP))
    file.seek(0)
    name = path.name.lower()
    if start == GZIP:
        if name.endswith((".nii", ".hdr", ".img")):
            raise UnusableInput(path, f"expected plain NIfTI as the name says, found gzip; rename it to {path.name}.gz")
        return _Gunzip(path, file)
    if name.endswith((".nii.gz", ".hdr.gz", ".img.gz")):
        content = looks_like(file.read(540))
        raise UnusableInput(path, f"expected gzip as the name says, found {content}; rename it or copy it again")
    return file


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


def _check_type(path: Path, header: Header) -> None:
    code = int(header["datatype"])
    if code not in SCALARS:
        name = REFUSED_TYPES.get(code, f"the unknown type {code}")
        raise UnusableInput(path, f"expected integer or float voxels, found {name}; convert the scan")
    bits = 8 * np.dtype(SCALARS[code]).itemsize
    if int(header["bitpix"]) != bits:
        raise UnusableInput(path, f"expected {bits} bits a voxel for its type, the header says {header['bitpix']}")


def _check_size(path: Path, header: Header, *, paired: bool) -> None:
    """Refuse dimensions and offsets that no scan has, in Python's integers, before anything is allocated."""
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
    shape = [int(n) for n in header["dim"][1 : 1 + int(header["dim"][0])]]
    return math.prod(shape) * int(header["bitpix"]) // 8


def _skip(path: Path, stream: _Stream, size: int) -> None:
    scratch = np.empty(min(size, CHUNK_BYTES), dtype=np.uint8)
    while size > 0:
        _fill(path, stream, scratch[: min(size, CHUNK_BYTES)])
        size -= len(scratch)


def _fill(path: Path, stream: _Stream, target: NDArray[np.uint8]) -> None:
    done = 0
    while done < len(target):
        part = stream.read(min(CHUNK_BYTES, len(target) - done))
        if not part:
            raise UnusableInput(
                path, f"expected {len(target) - done} more bytes of voxels, found it cut off; copy it again"
            )
        target[done : done + len(part)] = np.frombuffer(part, dtype=np.uint8)
        done += len(part)


def _read_tail(path: Path, stream: _Stream, slice_bytes: int) -> None:
    """Read to the end, so that the gzip trailer is checked; a slice or more after the voxels is damage."""
    limit = min(MAX_TAIL_BYTES, max(MIN_TAIL_BYTES, slice_bytes))
    size = 0
    while size < limit and (part := stream.read(limit - size)):
        size += len(part)
    if size >= limit:
        raise UnusableInput(
            path, "expected the end of the file after the voxels, found more data; check its dimensions"
        )
