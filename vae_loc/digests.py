"""SHA-256 of files: whether what is on disk is what was read or written."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from vae_loc.errors import UnusableInput
from vae_loc.files import opened

CHUNK_BYTES = 1 << 20


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
    """Tell whether every file is there and has the SHA-256 given."""
    try:
        return all(sha256_of(path) == digest for path, digest in files.items())
    except UnusableInput:
        return False
