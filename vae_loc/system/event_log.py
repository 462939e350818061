"""Events of a run, as JSON lines for a machine to read."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timezone
from pathlib import Path

from vae_loc.errors import UnusableInput
from vae_loc.system.reading import opened

MAX_LINE_BYTES = 1_000_000  # of an event
WriteEvent = Callable[[str, Mapping[str, object]], None]  # its name, and facts


@contextlib.contextmanager
def event_log(place: Path | None) -> Iterator[WriteEvent]:
    """Give a function that writes one JSON object a line, with its time (UTC), at once, to a file (`-`: stderr).

    Without a place it writes nothing. A log that exists is gone on with; any other file is left as it is.

    Raises
    ------
    UnusableInput : if the place cannot be written, as on a full disk, or holds anything but such a log.
    """
    if place is None:
        yield lambda event, facts: None
        return
    on_stderr = str(place) == "-"
    if not on_stderr:
        _refuse_others(place)
    try:
        file = sys.stderr if on_stderr else place.open("a", encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise UnusableInput(place, f"could not be written: {error.strerror}; give --log-json another") from error

    def write(event: str, facts: Mapping[str, object]) -> None:
        now = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
        try:
            file.write(json.dumps({"time": now, "event": event, **facts}, ensure_ascii=False) + "\n")
            file.flush()
        except OSError as error:
            why = f"could not be written: {error.strerror}; what was scored is whole"
            raise UnusableInput("--log-json" if on_stderr else place, why) from error

    try:
        yield write
    finally:
        if not on_stderr:
            with contextlib.suppress(OSError):  # a full disk was reported when the line was written
                file.close()


def _refuse_others(place: Path) -> None:
    """Refuse a file that is no log, such as a scan that was named by mistake: it would be spoilt."""
    if not os.path.exists(place) or place.is_char_device():  # a terminal, or /dev/null
        return
    with opened(place, "a file for --log-json") as file:
        first = file.readline(MAX_LINE_BYTES)
    try:
        is_log = not first or {"time", "event"} <= json.loads(first).keys()
    except (ValueError, AttributeError):  # no JSON, or no object
        is_log = False
    if not is_log:
        why = "expected a new file or a log of vae-loc for --log-json, found another; name a new one"
        raise UnusableInput(place, why)
