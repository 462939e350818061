"""How the commands talk: results to stdout, all else to stderr."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import typer
from rich.table import Table

from vae_loc.errors import UnusableInput, printable
from vae_loc.results.cohort_table import Entry
from vae_loc.results.score_cohort import Running
from vae_loc.system.progress import Bars


def tell(entries: Sequence[Entry], tables: Sequence[Path], running: Running) -> None:
    """Say what was written, `tables` last, and what failed, in the order of the scans; leave with the exit code."""
    failed = [entry for entry in entries if entry.status == "failed"]
    if str(running.log_json) != "-":
        for entry in failed:
            complain(f"vae-loc: {entry.error}")
    written = {str(entry.case.scan): [str(path) for path in entry.written] for entry in entries if entry.written}
    if running.as_json:
        skipped = [str(entry.case.scan) for entry in entries if entry.status == "skipped"]
        errors = [entry.error for entry in failed]
        table = str(tables[0]) if tables else None
        content = {"written": written, "skipped": skipped, "failed": errors, "table": table}
        say(json.dumps(content, indent=1))
    elif not running.quiet:
        paths = [path for paths in written.values() for path in paths] + [str(path) for path in tables]
        if paths:
            say("\n".join(map(printable, paths)))
    if failed:
        raise typer.Exit(EXIT_SOME_FAILED if len(failed) < len(entries) else failed[0].exit_code)


LOG_WIDTH = 120  # of tables where stdout is no terminal: a row stays a line


EXIT_SOME_FAILED = 3


def show(*tables: Table) -> None:
    """Print tables on stdout, not cut where that is no terminal."""
    from rich.console import Console

    console = Console()
    if not console.is_terminal:
        console = Console(width=LOG_WIDTH)
    with console.capture() as shown:
        for table in tables:
            console.print(table)
    say(shown.get().rstrip("\n"))


def talking(quiet: bool) -> Bars:
    """Return the progress bars of a command, and let the library's warnings through unless it is quiet."""
    from vae_loc.system.progress import Bars

    logger = logging.getLogger("vae_loc")
    logger.handlers, logger.propagate = [_Complaints(logging.ERROR if quiet else logging.WARNING)], False
    return Bars(quiet)


class _Complaints(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        complain(record.getMessage())


def complain(text: str) -> None:
    """Write one line to stderr, if anybody listens."""
    if sys.stderr is not None:
        with contextlib.suppress(OSError):
            sys.stderr.write(text + "\n")
            sys.stderr.flush()


def say(text: str) -> None:
    """Write results to stdout. That its reader went away is no fault: the files are on disk.

    Raises
    ------
    UnusableInput : if it cannot be written for another reason, such as a full disk.
    """
    try:
        typer.echo(text)
    except OSError as error:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())  # else Python writes the rest again when it ends
        if not isinstance(error, BrokenPipeError):
            raise UnusableInput("stdout", f"could not be written: {error.strerror}; the files are whole") from error
