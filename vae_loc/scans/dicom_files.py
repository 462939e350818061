"""The files of a DICOM folder or zip, read one by one into memory.

A zip is never unpacked to disk, so that none of its members' names can lead anywhere.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import os
import stat
import struct
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO
from zlib import error as zlib_error

from vae_loc.errors import UnusableInput
from vae_loc.scans.nifti import BOMB_BYTES, BOMB_RATIO

MAX_FILES = 20_000  # below a folder or in a zip: several studies
MAX_BYTES = 4_000_000_000  # of them together, unpacked
MAX_FILE_BYTES = 2_000_000_000  # of one: an enhanced multi-frame series is one file
PREAMBLE_BYTES, MAGIC = 128, b"DICM"
LAST_FIRST_ELEMENT = 0x20  # of a file without preamble: lengths, character set, image type or UIDs come first
# what pydicom, highdicom and zipfile raise at damaged files
DAMAGED = (ValueError, TypeError, KeyError, IndexError, AttributeError, NotImplementedError, RuntimeError, EOFError,
           struct.error, OSError, zipfile.BadZipFile, zlib_error)  # fmt: skip


def dicom_names(source: Path) -> list[str]:
    """Return the names of the files below a folder, in a zip, or of the file itself, in order.

    Raises
    ------
    UnusableInput : if there are too many, or the zip is damaged or unpacks to too much.
    """
    if source.is_dir():
        names = [str(path.relative_to(source)) for path in source.rglob("*") if not path.is_dir()]
    elif source.name.lower().endswith(".zip"):
        with _archive(source) as archive:
            members = [member for member in archive.infolist() if not member.is_dir()]
            packed, size = (sum(getattr(of, f"{kind}_size") for of in members) for kind in ("compress", "file"))
            if size > MAX_BYTES:
                raise UnusableInput(source, f"expected at most {MAX_BYTES} bytes, it says it unpacks to more")
            if size > max(BOMB_BYTES, BOMB_RATIO * packed):
                raise UnusableInput(source, f"expected images, found {packed} bytes that claim to hold {size}")
            names = [member.filename for member in members]
    else:
        return [source.name]
    if len(names) > MAX_FILES:
        raise UnusableInput(source, f"expected at most {MAX_FILES} files, found {len(names)}; name one study")
    return sorted(names)


def dicom_contents(source: Path, names: Sequence[str], *, head_only: bool = False) -> Iterator[tuple[str, io.BytesIO]]:
    """Yield the DICOM files among `names`, each as bytes in memory; with `head_only` others are passed over.

    A file that is gzipped by itself is unpacked.
    """
    total = 0
    with _archive(source) if source.name.lower().endswith(".zip") else contextlib.nullcontext() as archive:
        for name in names:
            try:
                path = source / name if source.is_dir() else source
                if archive is None and not stat.S_ISREG(os.stat(path).st_mode):
                    continue
                with archive.open(name) if archive else open(path, "rb") as file:
                    inner, limit = _unpacked(file)
                    head = inner.read(PREAMBLE_BYTES + len(MAGIC))
                    if head_only and not begins_like_dicom(head):
                        continue
                    content = head + inner.read(limit)
            except DAMAGED as error:
                raise UnusableInput(source, f"{name} could not be read ({error}); export it again") from error
            total += len(content)
            if total > MAX_BYTES or len(content) >= limit:
                raise UnusableInput(source, f"expected at most {MAX_BYTES} bytes in all, found more; name one series")
            yield name, io.BytesIO(content)


def _archive(source: Path) -> zipfile.ZipFile:
    if os.path.lexists(source) and not os.path.isfile(source):
        raise UnusableInput(source, "expected a zip of DICOM files, found a pipe, socket, device or broken link")
    try:
        return zipfile.ZipFile(source)
    except DAMAGED as error:
        raise UnusableInput(source, f"expected a zip of DICOM files, found {error}; export it again") from error


def has_magic(path: Path) -> bool:
    """Return whether a regular file begins like DICOM."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            return False
        with open(path, "rb") as file:
            return begins_like_dicom(_unpacked(file)[0].read(PREAMBLE_BYTES + len(MAGIC)))
    except (OSError, EOFError, zlib_error):
        return False


def begins_like_dicom(head: bytes) -> bool:
    """Return whether bytes begin like DICOM: by its preamble or, as scanners export it, with the first group itself.

    Without preamble, the first element is one of group 2 or 8, with a value representation or a short length.
    """
    group, element, representation = head[:2], int.from_bytes(head[2:4], "little"), head[4:6]
    bare = group in (b"\x02\0", b"\x08\0") and element <= LAST_FIRST_ELEMENT and len(head) > PREAMBLE_BYTES
    typed = representation.isalpha() and representation.isupper()
    return head.endswith(MAGIC) or (bare and (typed or 0 < int.from_bytes(head[4:8], "little") <= PREAMBLE_BYTES))


def _unpacked(file: IO[bytes]) -> tuple[IO[bytes] | gzip.GzipFile, int]:
    """Return a file, unpacked if it is gzipped by itself, and how many of its bytes may be read."""
    gzipped, size = file.read(2) == b"\x1f\x8b", file.seek(0, os.SEEK_END)
    file.seek(0)
    if not gzipped:
        return file, MAX_FILE_BYTES
    return gzip.open(file), min(MAX_FILE_BYTES, max(BOMB_BYTES, BOMB_RATIO * size))
