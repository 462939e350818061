"""What happens in a run, as JSON lines for a machine to read."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from types import TracebackType
from typing import IO

from vae_loc.errors import UnusableInput


class EventLog:
    """A context whose calls write one JSON object a line, at once, to a file (`-`: stderr); None writes nothing.

    A class because it owns an open file. A file that exists is gone on with.
    """

    def __init__(self, place: Path | None) -> None:
        self._file: IO[str] | None = None
        self.on_stderr = str(place) == "-"
        if place is None:
            return
        try:
            self._file = sys.stderr if self.on_stderr else place.open("a", encoding="utf-8", errors="backslashreplace")
        except OSError as error:
            raise UnusableInput(place, f"could not be written: {error.strerror}; give --log-json another") from error

    def __call__(self, event: str, facts: Mapping[str, object]) -> None:
        """Write an event with its time (UTC)."""
        if self._file is not None:
            now = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
            self._file.write(json.dumps({"time": now, "event": event, **facts}, ensure_ascii=False) + "\n")
            self._file.flush()

    def __enter__(self) -> EventLog:
        """Start."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the file."""
        if self._file is not None and not self.on_stderr:
            self._file.close()
