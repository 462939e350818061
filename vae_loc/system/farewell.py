"""The last words of a command that a signal ends: what is done, and how to go on."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

_words: list[Callable[[], str]] = []


@contextlib.contextmanager
def farewell(words: Callable[[], str]) -> Iterator[None]:
    """Have the signal handler say `words()` if a signal ends the command inside this context."""
    _words.append(words)
    try:
        yield
    finally:
        _words.remove(words)


def last_words() -> bytes:
    """Return what there is to say, one line each; nothing outside of any `farewell`."""
    return "".join(f"{said}\n" for words in _words if (said := words())).encode("utf-8", "backslashreplace")
