"""Sorted scores of many subjects in one temporary file, so that a cohort never sits in memory.

4 bytes a brain voxel and map on disk, in TMPDIR; in memory only what is ranked at the moment.
"""

from __future__ import annotations

import contextlib
import tempfile
from types import TracebackType

import numpy as np

from vae_loc.errors import UnusableInput
from vae_loc.vocabulary import BoolArray, FloatArray

Span = tuple[int, int]  # first and last + 1, in scores


class ScoreStore:
    """A context that takes each subject's scores once and gives them back as sorted, memory-mapped parts.

    A class because it owns a temporary file, which is gone when the context ends.
    """

    def __init__(self) -> None:
        try:
            self._file = tempfile.TemporaryFile(prefix="vae-loc-")  # noqa: SIM115
        except OSError as error:
            raise _full(error) from error
        self._end = 0
        self._spans: dict[str, list[tuple[Span, Span]]] = {}

    def add(self, name: str, labels: BoolArray, scores: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Store one subject's scores (N,) of a map; return those of lesion and of other voxels, ascending."""
        sides = np.sort(scores[labels]), np.sort(scores[~labels])
        self._spans.setdefault(name, []).append((self._write(sides[0]), self._write(sides[1])))
        return sides

    def _write(self, scores: FloatArray) -> Span:
        try:
            self._file.write(np.ascontiguousarray(scores, dtype=np.float32).data)
        except OSError as error:
            raise _full(error) from error
        self._end += len(scores)
        return self._end - len(scores), self._end

    def parts(self, name: str) -> tuple[list[FloatArray], list[FloatArray]]:
        """Return the scores of lesion and of other voxels, float32 (N,) ascending, of each subject in turn."""
        try:
            self._file.flush()
        except OSError as error:
            raise _full(error) from error
        scores: FloatArray = (
            np.memmap(self._file, dtype=np.float32, mode="r", shape=(self._end,))
            if self._end
            else np.zeros(0, dtype=np.float32)
        )
        spans = self._spans.get(name, [])
        return [scores[slice(*lesion)] for lesion, _ in spans], [scores[slice(*other)] for _, other in spans]

    def __enter__(self) -> ScoreStore:
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
