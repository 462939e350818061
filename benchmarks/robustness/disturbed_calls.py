"""Calls on files below a folder that are counted, and of which one fails or kills the process.

`PythonCalls` wraps the functions of Python; `LibraryCalls` is a library loaded before the C library, and also sees what
nibabel, safetensors and ITK do themselves (needs `cc` and Linux).
"""

from __future__ import annotations

import builtins
import contextlib
import ctypes
import io
import os
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from unittest import mock

SOURCE = Path(__file__).with_suffix(".c")
LOADED = "VAE_LOC_DISTURBED"  # variable of the environment: the library, once it is loaded


@dataclass(frozen=True)
class Fault:
    """The call that is disturbed: its kind, its number from 1, and its `errno`; None kills the process."""

    kind: str
    number: int
    error: int | None


class Calls(Protocol):
    """A way to see calls.

    Attributes
    ----------
    kinds, errors : the kinds of calls that it sees, and the names of the errors with which they fail
    """

    kinds: tuple[str, ...]
    errors: tuple[str, ...]

    def watched(self, folder: Path, fault: Fault | None) -> contextlib.AbstractContextManager[Counter[str]]:
        """Give the calls on files below a folder, counted by kind; the count is whole at the end of the context."""


class PythonCalls:
    """Calls of Python's own functions."""

    kinds: tuple[str, ...] = ("open", "write", "fsync", "replace")
    errors: tuple[str, ...] = ("EIO", "ENOSPC", "EACCES")

    @contextlib.contextmanager
    def watched(self, folder: Path, fault: Fault | None) -> Iterator[Counter[str]]:
        """Wrap the functions of Python that change files."""
        seen: Counter[str] = Counter()
        functions = [(os, kind, kind) for kind in self.kinds] + [(builtins, "open", "open"), (io, "open", "open")]
        with contextlib.ExitStack() as stack:
            for module, name, kind in functions:
                wrapped = _counted(getattr(module, name), kind, str(folder), fault, seen)
                stack.enter_context(mock.patch.object(module, name, wrapped))
            yield seen


def _counted(
    original: Callable[..., object], kind: str, folder: str, fault: Fault | None, seen: Counter[str]
) -> Callable[..., object]:
    def call(target: int | str | os.PathLike[str], *arguments: object, **options: object) -> object:
        own = target > 2 if isinstance(target, int) else os.fspath(target).startswith(folder)
        seen[kind] += own
        if own and fault is not None and (kind, seen[kind]) == (fault.kind, fault.number):
            if fault.error is None:
                os.kill(os.getpid(), signal.SIGKILL)
            else:
                raise OSError(fault.error, os.strerror(fault.error))
        return original(target, *arguments, **options)

    return call


class LibraryCalls:
    """Calls of the C library; the program begins again with the library before it."""

    kinds: tuple[str, ...] = ("open", "read", "write", "fsync", "rename", "mkdir", "unlink")
    errors: tuple[str, ...] = ("EIO", "ENOSPC", "EACCES", "EINTR")

    def __init__(self) -> None:
        if LOADED not in os.environ:
            library = Path(tempfile.mkdtemp()) / "calls.so"
            subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", str(library), str(SOURCE), "-ldl"], check=True)
            os.environ |= {"LD_PRELOAD": str(library), LOADED: str(library)}
            os.execv(sys.executable, [sys.executable, "-m", "benchmarks.robustness.crash", *sys.argv[1:]])
        self._library = ctypes.CDLL(os.environ[LOADED])

    @contextlib.contextmanager
    def watched(self, folder: Path, fault: Fault | None) -> Iterator[Counter[str]]:
        """Arm the library."""
        kind, number = (-1, 0) if fault is None else (self.kinds.index(fault.kind), fault.number)
        error = 0 if fault is None or fault.error is None else fault.error
        kills = fault is not None and fault.error is None
        seen: Counter[str] = Counter()
        self._library.fault_arm(str(folder).encode(), kind, ctypes.c_long(number), error, int(kills))
        yield seen
        seen.update({name: self._library.fault_seen(place) for place, name in enumerate(self.kinds)})
        self._library.fault_arm(b"", -1, ctypes.c_long(0), 0, 0)
