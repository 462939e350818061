"""Faults that a user can correct: one exception for each kind, with the exit code of `docs/reference/exit-codes.md`."""

from __future__ import annotations

import errno
import math
import os
import traceback
from numbers import Real
from pathlib import Path

MEMORY_WORDS = ("out of memory", "allocate memory", "not enough memory", "bad_alloc", "can't start new thread",
                "failed to map segment")  # fmt: skip
TOO_MANY_FILES = (errno.EMFILE, errno.ENFILE)
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS)


def printable(name: str | Path) -> str:
    r"""Return a name that is safe in one line of a terminal: control characters are escaped.

    >>> printable("a\nb")
    'a\\nb'
    """
    text = str(name).encode("utf-8", "backslashreplace").decode("utf-8")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


class VaeLocError(Exception):
    """A fault that the user can mend. Its text is one line: subject, expected, found, and the mend."""

    exit_code = 1

    def __init__(self, subject: str | Path, message: str) -> None:
        super().__init__(f"{printable(subject)}: {printable(message)}")


class UnusableInput(VaeLocError):
    """A scan, mask, list or output place that cannot be used."""

    exit_code = 4


class UnusableModel(VaeLocError):
    """A model file that is damaged, foreign, or made for other data."""

    exit_code = 5


class UnusableOption(VaeLocError):
    """Options that do not go together, or a value outside its range."""

    exit_code = 2


def refuse_beyond(option: str, value: object, low: float = -math.inf, high: float = math.inf) -> None:
    """Refuse a value of an option that is no finite number of a range; None is no value.

    Raises
    ------
    UnusableOption : naming option, range and value.
    """
    if value is None or (isinstance(value, Real) and low <= float(value) <= high and math.isfinite(value)):
        return
    bounds = f" from {low:g} to {high:g}" if high < math.inf else f" of {low:g} or more" if low > -math.inf else ""
    raise UnusableOption(f"--{option}", f"expected a finite number{bounds}, got {value!r:.60}")


class OutOfMemory(VaeLocError):
    """The machine has too little memory."""

    exit_code = 4

    def __init__(self) -> None:
        super().__init__("memory", "not enough; lower --batch-size or --threads, or close other programs")


class WorkerDied(VaeLocError):
    """A process that scored a scan was killed."""

    exit_code = 4

    def __init__(self, scan: Path) -> None:
        super().__init__(scan, "its process died, twice: out of memory, or killed; give it more memory or lower --jobs")


class OurBug(VaeLocError):
    """An unexpected exception on one scan of many."""

    exit_code = 1

    def __init__(self, scan: Path, error: Exception) -> None:
        trace = " < ".join(
            f"{frame.name}:{frame.lineno}" for frame in reversed(traceback.extract_tb(error.__traceback__))
        )
        super().__init__(scan, f"a bug of ours, please report it: {type(error).__name__}: {error}; at {trace}")


class TrainingDiverged(VaeLocError):
    """The loss became NaN or infinite."""

    exit_code = 4


class MachineFault(VaeLocError):
    """The machine has too few file handles, a full or broken disk, or lets no process start."""

    exit_code = 4


def machine_fault(error: BaseException) -> VaeLocError | None:
    """Return the fault of machine or installation that an exception stands for, in one line; None if it is none."""
    if is_out_of_memory(error):
        return OutOfMemory()
    if isinstance(error, ModuleNotFoundError) and error.name == "torch":
        return UnusableOption("torch", "is needed to learn a model and not installed; pip install torch")
    number = error.errno if isinstance(error, OSError) else None
    if number in TOO_MANY_FILES:
        return MachineFault("files", "too few may be open at once; raise the limit (ulimit -n) or lower --jobs")
    if number in NO_ROOM:
        place = error.filename if isinstance(error, OSError) and error.filename else "disk"
        return MachineFault(os.fsdecode(place), f"{os.strerror(number or 0)}; make room, or choose another place")
    return None


def fault_of(scan: Path, error: Exception) -> VaeLocError:
    """Return the fault to note where an exception on one scan must not cost the others: a bug of ours if no other."""
    return error if isinstance(error, VaeLocError) else machine_fault(error) or OurBug(scan, error)


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether memory ran out in Python, numpy or torch; torch states it in words alone."""
    text = str(error).lower()
    return isinstance(error, MemoryError) or any(words in text for words in MEMORY_WORDS)
