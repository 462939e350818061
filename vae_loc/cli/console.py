"""Output of the commands: results on stdout, all else on stderr."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sys
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import typer

from vae_loc.errors import UnusableInput, printable

if TYPE_CHECKING:
    from rich.table import Table

    from vae_loc.cli.options import TalkOptions
    from vae_loc.results.person_summary import PersonMask
    from vae_loc.results.scan_summary import MaskSummary
    from vae_loc.results.score_cohort import Listener, Outcome
    from vae_loc.system.progress import Bars
    from vae_loc.vocabulary import Method

LOG_WIDTH = 120  # of tables where stdout is no terminal: a row stays a line


@contextlib.contextmanager
def listening(talk: TalkOptions) -> Iterator[Listener]:
    """Give the listener of a command that scores scans: progress bars, the log of events, notes on stderr."""
    from vae_loc.results.score_cohort import Listener
    from vae_loc.system.event_log import event_log
    from vae_loc.system.farewell import farewell

    with event_log(talk.log_json) as log:
        silent = talk.quiet or str(talk.log_json) == "-"
        with talking(silent) as bars, farewell(lambda: "" if silent else _interrupted(bars)):
            yield Listener(bars, log, (lambda _: None) if silent else complain)


def print_outcome(outcome: Outcome, talk: TalkOptions) -> None:
    """Print the findings of a run on stderr with each failure; paths on stdout, tables last; leave with the exit code.

    On a terminal the number of files stands for their paths.

    Raises
    ------
    typer.Exit : if a scan failed.
    """
    from vae_loc.cli.tables.scan_table import findings_shown

    events_on_stderr = str(talk.log_json) == "-"
    if not events_on_stderr:
        for error in [of.error for of in outcome.failed] + [of.error for of in outcome.persons if of.error]:
            complain(f"vae-loc: {error}")
    written = [path for of in outcome.entries for path in of.written]
    written += [path for of in outcome.persons for path in of.written]
    written += sorted(outcome.tables, key=lambda path: path.name.startswith("cohort"))
    on_terminal = sys.stdout is not None and sys.stdout.isatty()
    if talk.as_json:
        say(json.dumps(_facts(outcome), indent=1))
    elif written and not (talk.quiet or on_terminal):
        say("\n".join(map(printable, written)))
    if not (talk.quiet or events_on_stderr):
        table, lines = findings_shown(outcome)
        lines += [f"{len(written)} files in {printable(written[-1].parent)}"] if on_terminal and written else []
        for text in ([] if table is None else [_rendered(table, stderr=True)]) + lines:
            complain(text)
    if outcome.exit_code:
        raise typer.Exit(outcome.exit_code)


def _facts(outcome: Outcome) -> dict[str, object]:
    """Return an outcome as `--json` shows it; findings by scan and map, of the joint results by person and map."""
    from vae_loc.cli.tables.scan_table import summary_of
    from vae_loc.results.person_summary import people_beside

    summaries = {str(of.case.scan): summary for of in outcome.entries if (summary := summary_of(of))}
    people = people_beside([of.scores for of in outcome.entries if of.scores])
    return {
        "findings": {scan: _findings(summary.masks or {}) for scan, summary in summaries.items()},
        "person_findings": {summary.person: _findings(summary.masks) for _, summary in people},
        "written": {str(of.case.scan): [str(path) for path in of.written] for of in outcome.entries if of.written},
        "skipped": [str(of.case.scan) for of in outcome.entries if of.status == "skipped"],
        "failed": [of.error for of in outcome.failed],
        "persons": {of.name: [str(path) for path in of.written] for of in outcome.persons if of.written},
        "table": str(outcome.tables[0]) if outcome.tables else None,
    }


def _findings(masks: Mapping[Method, MaskSummary] | Mapping[Method, PersonMask]) -> dict[str, object]:
    return {method: [finding.model_dump(mode="json") for finding in mask.findings] for method, mask in masks.items()}


def _interrupted(bars: Bars) -> str:
    """Return a line for a run that a signal ends: the scans that are done, and how to go on."""
    done, total = bars.counts.get("scoring", (0, 0))
    if total < 2:
        return "vae-loc: interrupted; no file is half-written"
    return (
        f"vae-loc: interrupted; {done} of {total} scans are done, and their files are whole. "
        "The same command with --skip-existing goes on from there"
    )


def show(*tables: Table) -> None:
    """Print tables on stdout, not cut where that is no terminal."""
    say(_rendered(*tables))


def _rendered(*tables: Table, stderr: bool = False) -> str:
    """Return tables as text, as wide as the stream that they go to."""
    from rich.console import Console

    console = Console(stderr=stderr)
    if not console.is_terminal:
        console = Console(width=LOG_WIDTH, stderr=stderr)
    with console.capture() as shown:
        for table in tables:
            console.print(table)
    return shown.get().rstrip("\n")


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
