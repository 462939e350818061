"""Progress bars on stderr, for a person at a terminal; silent elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


class Bars:
    """A context in which `bars(name, total)` gives a function that advances one bar."""

    def __init__(self, quiet: bool) -> None:
        console = Console(stderr=True)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
            console=console,
            disable=quiet or not console.is_terminal,
            transient=True,
        )

    def __call__(self, name: str, total: int) -> Callable[[str], None]:
        """Start a bar; the function returned advances it by one and shows a note."""
        task = self._progress.add_task(name, total=total, note="")
        return lambda note: self._progress.update(task, advance=1, note=note)

    def __enter__(self) -> Bars:
        """Show the bars."""
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Remove the bars."""
        self._progress.stop()
