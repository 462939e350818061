"""Arrays in one temporary file, so that a cohort never sits in memory."""

from __future__ import annotations

import contextlib
import tempfile
from types import TracebackType
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from vae_loc.errors import UnusableInput

ScalarT = TypeVar("ScalarT", bound=np.generic)


class ArrayStore:
    """A context that takes arrays and gives them back memory-mapped, read-only, from a file in TMPDIR.

    A class because it owns the file, which is gone when the context ends.
    """

    def __init__(self) -> None:
        try:
            self._file = tempfile.TemporaryFile(prefix="vae-loc-")  # noqa: SIM115
        except OSError as error:
            raise _full(error) from error
        self._end = 0

    def kept(self, array: NDArray[ScalarT]) -> NDArray[ScalarT]:
        """Write an array to the file; return the same values, shape and order in memory, mapped from there.

        Raises
        ------
        UnusableInput : if TMPDIR has no room for it.
        """
        if not array.size:
            return array
        order = "F" if array.flags.f_contiguous else "C"
        try:
            self._file.write(array.tobytes(order="A" if order == "F" else "C"))
            self._file.flush()
        except OSError as error:
            raise _full(error) from error
        start, self._end = self._end, self._end + array.nbytes
        mapped = np.memmap(self._file, dtype=array.dtype, mode="r", offset=start, shape=array.shape, order=order)  # type: ignore[call-overload]
        return np.asarray(mapped)

    def __enter__(self) -> ArrayStore:
        """Start."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Remove the file."""
        with contextlib.suppress(OSError):  # what a full disk did not take is not missed any more
            self._file.close()


def _full(error: OSError) -> UnusableInput:
    return UnusableInput(
        "TMPDIR", f"a temporary file could not be written: {error.strerror or error}; set it to a folder with space"
    )
