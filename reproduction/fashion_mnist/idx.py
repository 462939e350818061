"""IDX files, in which MNIST and its relatives are published: gzip, a magic number, sizes, bytes."""

from __future__ import annotations

import math
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vae_loc.errors import UnusableInput
from vae_loc.system.reading import GZIP, looks_like, opened

UNSIGNED_BYTES = 8  # the type code of MNIST's files
HINT = "name the folder with --data, or apt-get install dataset-fashion-mnist"
MAX_BYTES = 1 << 30  # of what a file unpacks to: twenty times the largest of them


def read_idx(path: Path, *, dimensions: int) -> NDArray[np.uint8]:
    """Return the array in a gzipped IDX file of unsigned bytes.

    Parameters
    ----------
    dimensions : how many axes it must have: 3 for images, 1 for labels

    Raises
    ------
    UnusableInput : naming the file, if it is missing, foreign, truncated, or longer than it says.
    """
    if not path.exists():
        raise UnusableInput(path, f"expected a file of FashionMNIST, found none; {HINT}")
    with opened(path, "a gzipped IDX file") as file:
        packed = file.read(MAX_BYTES)
    content = _unpacked(path, packed)
    start = 4 + 4 * dimensions
    if len(content) < start or content[:4] != bytes((0, 0, UNSIGNED_BYTES, dimensions)):
        need = f"IDX of unsigned bytes with {dimensions} dimension{'s' * (dimensions > 1)}"
        raise UnusableInput(path, f"expected {need}, found {_magic(content)}; {HINT}")
    shape = tuple(int(size) for size in np.frombuffer(content[4:start], ">u4"))
    if len(content) - start != math.prod(shape):
        size = f"{len(content) - start} bytes"
        raise UnusableInput(path, f"expected {math.prod(shape)} bytes for {shape}, found {size}; fetch it again")
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


def _unpacked(path: Path, packed: bytes) -> bytes:
    if not packed.startswith(GZIP):
        raise UnusableInput(path, f"expected a gzipped IDX file, found {looks_like(packed[:512])}; {HINT}")
    stream = zlib.decompressobj(wbits=31)
    try:
        content = stream.decompress(packed, MAX_BYTES)
    except zlib.error as error:
        raise UnusableInput(path, "expected a gzipped IDX file, found damaged gzip; fetch it again") from error
    if not stream.eof:
        raise UnusableInput(path, "expected a whole gzip file, found its end missing; fetch it again")
    return content


def _magic(content: bytes) -> str:
    return f"the magic number {content[:4].hex()}" if len(content) >= 4 else f"{len(content)} bytes"
