"""The number of CPU threads of the network, set once, where the command line is parsed."""

from __future__ import annotations

from contextvars import ContextVar

_threads: ContextVar[int] = ContextVar("threads", default=1)


def set_threads(count: int) -> None:
    """Set the number of threads of every session of onnxruntime and network of torch that is built from now on."""
    _threads.set(count)


def threads() -> int:
    """Return the number of threads that was set, 1 if none was."""
    return _threads.get()
