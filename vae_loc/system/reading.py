"""Regular files are read whole: bytes, text, tables; their SHA-256, and their kinds by their first bytes."""

from __future__ import annotations

import contextlib
import csv
import errno
import hashlib
import io
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import IO

from vae_loc.errors import UnusableInput, VaeLocError

MAX_LIST_BYTES = 20_000_000  # of a list or table: 100 000 long paths
CHUNK_BYTES = 1 << 20
SCAN_COLUMNS = ("scan", "label", "mask", "subject", "contrast")  # of tables of scans, however they are written
SEPARATORS = ",;\t"  # of cells; spreadsheets of countries with decimal commas write semicolons
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # how a cell begins that a spreadsheet would take for a formula
TEXT = "'"  # before such a cell: then it is text
QUOTED = tuple(f"{TEXT}{start}" for start in FORMULA)
GZIP = b"\x1f\x8b"
SIGNATURES = (
    (0, GZIP, "gzip"),
    (0, b"BZh", "bzip2; unpack it with bunzip2"),
    (0, b"\xfd7zXZ", "xz; unpack it"),
    (0, b"\x28\xb5\x2f\xfd", "zstd; unpack it"),
    (0, b"7z\xbc\xaf", "a 7z archive"),
    (0, b"PK\x03\x04", "a zip archive (a PyTorch, TorchScript or npz file is one)"),
    (0, b"\x89PNG", "a PNG picture"),
    (0, b"\xff\xd8\xff", "a JPEG picture"),
    (0, b"GIF8", "a GIF picture"),
    (0, b"%PDF", "a PDF"),
    (0, b"\x89HDF", "HDF5 (MINC-2 is)"),
    (0, b"CDF", "netCDF (MINC-1 is)"),
    (0, b"NRRD", "NRRD; convert it to NIfTI"),
    (0, b"ObjectType", "MetaImage; convert it to NIfTI"),
    (0, b"SIMPLE  =", "FITS"),
    (0, b"\x93NUMPY", "a numpy array"),
    (0, b"version https://git-lfs", "a Git-LFS pointer (run `git lfs pull`)"),
    (0, b"/annex/objects/", "a git-annex pointer (run `git annex get`, or `datalad get`)"),
    (0, b"\x00\x00\x00\x01\x00\x00", "MGH (convert it with mri_convert)"),
    (128, b"DICM", "DICOM (convert it with dcm2niix)"),
    (257, b"ustar", "a tar archive"),
    *((0, bytes((0x80, version)), "a pickle, which is never opened") for version in range(2, 6)),
)
NIFTI_SIZES = (b"\x5c\x01\x00\x00", b"\x00\x00\x01\x5c", b"\x1c\x02\x00\x00", b"\x00\x00\x02\x1c")  # 348, 540
MARKUP = ((b"<!doctype html", "HTML"), (b"<html", "HTML"), (b"<?xml", "XML"), (b"<", "HTML or XML"))


@contextlib.contextmanager
def opened(path: Path, what: str, fault: type[VaeLocError] = UnusableInput) -> Iterator[IO[bytes]]:
    """Open a regular file to read; every error while it is read is a `fault` that names it.

    Raises
    ------
    fault : if it is missing, unreadable, or a folder, pipe or device.
    """
    if "\0" in str(path):
        raise fault(path, f"expected {what}, found a name with a null byte; check the name")
    try:
        mode = os.stat(path).st_mode
        if not stat.S_ISREG(mode):
            kind = "a folder" if stat.S_ISDIR(mode) else "a pipe, socket or device"
            raise fault(path, f"expected {what}, found {kind}; name a file")
        with open(path, "rb") as file:
            yield file
    except OSError as error:
        hint = "check the name" if error.errno in (errno.ENOENT, errno.ENOTDIR) else "check the file"
        if os.path.islink(path) and "annex/objects" in os.readlink(path):
            hint = "its content is not here: run `git annex get`, or `datalad get`"
        raise fault(path, f"could not be read: {reason(error)}; {hint}") from error


def read_text(path: Path, what: str) -> str:
    """Return a short text file; bytes that are no UTF-8 come back as they are in file names.

    Raises
    ------
    UnusableInput : if it cannot be read, is too large, or no text.
    """
    with opened(path, what) as file:
        raw = file.read(MAX_LIST_BYTES + 1)
    if len(raw) > MAX_LIST_BYTES or b"\0" in raw:
        content = f"more than {MAX_LIST_BYTES} bytes" if len(raw) > MAX_LIST_BYTES else "no text"
        raise UnusableInput(path, f"could not be read as {what}: expected text, found {content}; check the file")
    return raw.decode("utf-8-sig", "surrogateescape")


def reason(error: OSError) -> str:
    """Return the system's words for an error."""
    return os.strerror(error.errno) if error.errno else str(error)


def to_csv(records: Sequence[Mapping[str, object]]) -> bytes:
    """Return records as CSV, UTF-8, with the columns of all; None is an empty cell.

    Text that a spreadsheet would take for a formula begins with an apostrophe there; `read_csv` takes it off again.
    """
    buffer = io.StringIO()
    columns = list(dict.fromkeys(name for record in records for name in record))
    writer = csv.DictWriter(buffer, columns, lineterminator="\n")
    writer.writeheader()
    for record in records:
        writer.writerow({name: as_text(cell) if isinstance(cell, str) else cell for name, cell in record.items()})
    return buffer.getvalue().encode("utf-8", "backslashreplace")


def as_text(value: str) -> str:
    """Return a cell that a spreadsheet takes for no formula: one that it would has an apostrophe in front."""
    if not value.startswith(FORMULA):
        return value
    try:
        float(value)
    except ValueError:
        return f"{TEXT}{value}"
    return value


def read_csv(path: Path, what: str, columns: Sequence[str]) -> list[dict[str, str]]:
    """Return the rows of a table that has at least `columns`; cells that are missing are empty, quoted text is bare.

    Cells are separated by what the first line has most of: commas, semicolons or tabs. Names of columns are in small
    letters where they are known, and no cell begins or ends with spaces.

    Raises
    ------
    UnusableInput : if it cannot be read, or a column is missing.
    """
    try:
        text = read_text(path, what)
        separator = max(SEPARATORS, key=text.partition("\n")[0].count)
        header, *rows = [*csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True)] or [[]]
    except csv.Error as error:
        raise UnusableInput(path, f"could not be read as {what}: {error}") from error
    known = {*columns, *SCAN_COLUMNS}
    names = [bare.lower() if bare.lower() in known else bare for bare in map(str.strip, header)]
    if absent := [column for column in columns if column not in names]:
        raise UnusableInput(path, f"expected the columns {' and '.join(columns)}, found no {absent[0]}")
    cells = [dict(zip_longest(names, map(str.strip, row[: len(names)]), fillvalue="")) for row in rows if row]
    return [{name: cell[len(TEXT) * cell.startswith(QUOTED) :] for name, cell in row.items()} for row in cells]


def sha256_of(*paths: Path) -> str:
    """Return the SHA-256 of the contents of files, one after the other.

    Raises
    ------
    UnusableInput : if one cannot be read.
    """
    content = hashlib.sha256()
    for path in paths:
        with opened(path, "a file") as file:
            while chunk := file.read(CHUNK_BYTES):
                content.update(chunk)
    return content.hexdigest()


def are_whole(files: Mapping[Path, str]) -> bool:
    """Return whether every file is there and has the SHA-256 given."""
    try:
        return all(sha256_of(path) == digest for path, digest in files.items())
    except UnusableInput:
        return False


def looks_like(head: bytes) -> str:
    """Return the kind of file that the first bytes are of.

    >>> looks_like(b"BZh91AY"), looks_like(b"hello")
    ('bzip2; unpack it with bunzip2', 'text')
    """
    if not head:
        return "an empty file"
    for offset, signature, name in SIGNATURES:
        if head[offset:].startswith(signature):
            return name
    if head.startswith(NIFTI_SIZES):
        if len(head) < 348:
            return "a NIfTI header that is cut off"
        if head[344:347] in (b"n+1", b"ni1") or head[4:7] in (b"n+2", b"ni2"):
            return "a NIfTI header that is cut off or damaged"
        return "an Analyze 7.5 file, which does not say where left is, or a damaged NIfTI header; convert the original"
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    printable = sum(32 <= byte < 127 or byte in b"\r\n\t" for byte in head)
    plain = "text" if printable > 0.95 * len(head) else "unknown binary data"
    return next((name for signature, name in MARKUP if start.startswith(signature)), plain)
