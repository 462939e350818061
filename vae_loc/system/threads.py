"""How many CPU threads the network may use; said once, where the command line is parsed."""

from __future__ import annotations

from contextvars import ContextVar

_threads: ContextVar[int] = ContextVar("threads", default=1)


def set_threads(count: int) -> None:
    """Let what is built from now on, a session of onnxruntime or a network of torch, use so many threads."""
    _threads.set(count)


def threads() -> int:
    """Return how many threads were set, 1 if nothing was."""
    return _threads.get()
