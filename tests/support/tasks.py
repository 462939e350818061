"""Functions that worker processes import: tasks, and one that kills its process."""

from __future__ import annotations

import os
import signal


def square(number):
    return number * number


def die(place, number):
    """Kill the process at 3 always, at 5 the first time."""
    if number == 3 or (number == 5 and not (place / "five").exists()):
        (place / "five").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return square(number)
