"""Arrays in one temporary file, so that a cohort never sits in memory."""

from __future__ import annotations

import contextlib
import tempfile
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from vae_loc.errors import UnusableInput

ScalarT = TypeVar("ScalarT", bound=np.generic)
MAPPED_BYTES = 1 << 28  # of the file mapped at a time: each mapping holds a file open, and a process has few
ALIGNED_BYTES = 64  # each array begins at a multiple of this


class ArrayStore(contextlib.AbstractContextManager["ArrayStore"]):
    """A context that takes arrays and gives them back memory-mapped, read-only, from a file in TMPDIR.

    A class because it owns the file, which is gone when the context ends.
    """

    def __init__(self) -> None:
        try:
            self._file = tempfile.TemporaryFile(prefix="vae-loc-")  # noqa: SIM115
        except OSError as error:
            raise _full(error) from error
        self._end = 0
        self._chunk, self._start = np.zeros(0, dtype=np.uint8), 0  # the mapped part, and where it begins

    def kept(self, array: NDArray[ScalarT]) -> NDArray[ScalarT]:
        """Write an array to the file; return the same values, shape and order in memory, mapped from there.

        Raises
        ------
        UnusableInput : if TMPDIR has no room for it.
        """
        if not array.size:
            return array
        is_fortran = array.flags.f_contiguous
        start = -(-self._end // ALIGNED_BYTES) * ALIGNED_BYTES
        self._end = start + array.nbytes
        try:
            if self._end > self._start + len(self._chunk):
                # the file becomes longer, without content, and the new part is mapped
                self._start, length = start, max(MAPPED_BYTES, array.nbytes)
                self._file.truncate(start + length)
                self._chunk = np.asarray(np.memmap(self._file, np.uint8, mode="r", offset=start, shape=(length,)))
            self._file.seek(start)
            self._file.write(array.tobytes(order="A" if is_fortran else "C"))
            self._file.flush()
        except OSError as error:
            raise _full(error) from error
        stored = self._chunk[start - self._start : self._end - self._start].view(array.dtype)
        return stored.reshape(array.shape, order="F" if is_fortran else "C")

    def __exit__(self, *_: object) -> None:
        """Remove the file."""
        with contextlib.suppress(OSError):  # a full disk does not matter any more
            self._file.close()


def _full(error: OSError) -> UnusableInput:
    why = f"a temporary file could not be written: {error.strerror or error}"
    return UnusableInput("TMPDIR", f"{why}; set it to a folder with space")
