"""Progress on stderr: bars for a person at a terminal, now and then a line for a log."""

from __future__ import annotations

import time
from collections.abc import Callable

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from vae_loc.errors import printable

LOG_EVERY_S = 30.0  # where stderr is no terminal: often enough to see that it lives
BarMaker = Callable[[str, int], Callable[[str], None]]  # (name, total) -> advance(note)


def no_bars(name: str, total: int) -> Callable[[str], None]:
    """Show no progress: the function returned does nothing."""
    return lambda _: None


class Bars(Progress):
    """A context in which `bars(name, total)` gives a function that advances one bar."""

    def __init__(self, quiet: bool) -> None:
        console = Console(stderr=True)
        super().__init__(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}", markup=False),
            console=console,
            disable=quiet or not console.is_terminal,
            transient=True,
        )
        self._logs = not quiet and not console.is_terminal
        self._last_s = time.monotonic()
        self.counts: dict[str, tuple[int, int]] = {}  # by name: how many of how many

    def __call__(self, name: str, total: int) -> Callable[[str], None]:
        """Start a bar; the function returned advances it by one and shows a note."""
        task = self.add_task(name, total=total, note="")
        self.counts[name] = 0, total

        def advance(note: str) -> None:
            self.update(task, advance=1, note=printable(note))
            self.counts[name] = self.counts[name][0] + 1, total
            if self._logs and time.monotonic() - self._last_s >= LOG_EVERY_S:
                self._last_s = time.monotonic()
                shown = next(t for t in self.tasks if t.id == task)
                left = "" if shown.time_remaining is None else f"  {shown.time_remaining / 60:.0f} min left"
                line = f"{name} {shown.completed:g}/{total:g}{left}  {printable(note)}"
                self.console.print(line, highlight=False, markup=False, soft_wrap=True)

        return advance
