"""Events of a run, as JSON lines for a machine to read."""

from __future__ import annotations

import contextlib
import json
import os
import stat
import sys
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from types import TracebackType
from typing import IO

from vae_loc.errors import UnusableInput
from vae_loc.system.reading import opened

MAX_LINE_BYTES = 1_000_000  # of an event


class EventLog:
    """A context whose calls write one JSON object a line, at once, to a file (`-`: stderr); None writes nothing.

    A class because it owns an open file. A log that exists is gone on with; any other file is left as it is.

    Raises
    ------
    UnusableInput : if the place cannot be written, or holds anything but such a log.
    """

    def __init__(self, place: Path | None) -> None:
        self._file: IO[str] | None = None
        self.on_stderr = str(place) == "-"
        if place is None:
            return
        if not self.on_stderr:
            _refuse_others(place)
        try:
            self._file = sys.stderr if self.on_stderr else place.open("a", encoding="utf-8", errors="backslashreplace")
        except OSError as error:
            raise UnusableInput(place, f"could not be written: {error.strerror}; give --log-json another") from error

    def __call__(self, event: str, facts: Mapping[str, object]) -> None:
        """Write an event with its time (UTC).

        Raises
        ------
        UnusableInput : if it cannot be written, as on a full disk.
        """
        if self._file is not None:
            now = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
            try:
                self._file.write(json.dumps({"time": now, "event": event, **facts}, ensure_ascii=False) + "\n")
                self._file.flush()
            except OSError as error:
                place = "--log-json" if self.on_stderr else self._file.name
                raise UnusableInput(
                    place, f"could not be written: {error.strerror}; what was scored is whole"
                ) from error

    def __enter__(self) -> EventLog:
        """Start."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the file."""
        if self._file is not None and not self.on_stderr:
            with contextlib.suppress(OSError):  # a full disk was reported when the line was written
                self._file.close()


def _refuse_others(place: Path) -> None:
    """Refuse a file that is no log, such as a scan that was named by mistake: it would be spoilt."""
    try:
        mode = os.stat(place).st_mode
    except OSError:  # there is none yet, or opening it raises the fault
        return
    if stat.S_ISCHR(mode):  # a terminal, or /dev/null
        return
    if not stat.S_ISREG(mode):
        raise UnusableInput(place, "expected a file for --log-json, found a folder, pipe or device; name another")
    with opened(place, "a log") as file:
        first = file.readline(MAX_LINE_BYTES)
    if first and not _is_event(first):
        raise UnusableInput(
            place, "expected a new file or a log of vae-loc for --log-json, found another; name a new one"
        )


def _is_event(line: bytes) -> bool:
    try:
        event = json.loads(line)
    except ValueError:
        return False
    return isinstance(event, dict) and "event" in event and "time" in event
