"""The end of a command by a signal: modules register here what `__main__` removes and prints then."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

clean_ups: list[Callable[[], None]] = []  # of modules that have files half-written
_words: list[Callable[[], str]] = []


@contextlib.contextmanager
def farewell(words: Callable[[], str]) -> Iterator[None]:
    """Have the signal handler print `words()` if a signal ends the command inside this context."""
    _words.append(words)
    try:
        yield
    finally:
        _words.remove(words)


def last_words() -> bytes:
    """Return the text to print, one line for each `farewell` that is open; empty outside of any."""
    return "".join(f"{line}\n" for words in _words if (line := words())).encode("utf-8", "backslashreplace")
