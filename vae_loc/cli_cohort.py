"""How the commands that score scans run a cohort, and what they say of it."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from vae_loc import __version__
from vae_loc.cli_dicom import with_segmentations
from vae_loc.errors import UnusableInput, printable
from vae_loc.events import EventLog
from vae_loc.options import EXIT_SOME_FAILED, complain, prepared_device, say, talking

if TYPE_CHECKING:
    from vae_loc.batch import Run, Wanted
    from vae_loc.cohort import Case, Sifted
    from vae_loc.dicom import Converted
    from vae_loc.ledger import Entry
    from vae_loc.places import Place


@dataclass(frozen=True)
class Running:
    """How a cohort is run and what is said of it; see the options of the same names. `shard` is (part, parts)."""

    jobs: int | None = None
    scheduler: str | None = None
    shard: tuple[int, int] = (1, 1)
    skip_existing: bool = False
    quiet: bool = False
    as_json: bool = False
    log_json: Path | None = None


def readable(
    cases: Sequence[Case],
    volume: int | None,
    running: Running,
    *,
    known: Mapping[Path, UnusableInput] | None = None,
) -> Sifted:
    """Return the scans of the shard; end here, before anything slow is imported, if no header can be used.

    `known` are the faults of scans that need not be looked at.
    """
    from vae_loc.cohort import shard_of, sift

    part = sift(shard_of(cases, *running.shard), volume=volume, known=known)
    if part.faults and not part.cases:
        faults = list(part.faults.values())
        for error in faults:
            complain(f"vae-loc: {error}")
        if running.as_json:
            say(json.dumps({"written": {}, "skipped": [], "failed": list(map(str, faults))}, indent=1))
        raise typer.Exit(faults[0].exit_code)
    return part


def locate_and_tell(
    cases: Sequence[Case],
    part: Sifted,
    output: Path,
    wanted: Wanted,
    running: Running,
    *,
    dicom: Converted | None = None,
) -> None:
    """Score a part of the scans into `output`, say what was written, and leave with the exit code.

    Masks of the series in `dicom` are written as DICOM Segmentations too.
    """
    from vae_loc.ledger import table_name
    from vae_loc.places import target

    where = target(output, scans=[case.scan for case in cases], methods=len(wanted.methods))
    alone = len(cases) < 2 or where.map_file is not None
    table = None if alone else where.folder / table_name(*running.shard)
    entries = scored(part, where, table, wanted, running)
    if dicom is not None:
        entries = with_segmentations(entries, dicom, where, wanted.methods)
    tables = [] if table is None else [table, page_beside(table)] if wanted.report else [table]
    tell(entries, tables, running)


def page_beside(table: Path) -> Path:
    """Write a cohort table as a page too, and return its path."""
    from vae_loc.cohortpage import cohort_page
    from vae_loc.files import write_atomically

    page = table.with_suffix(".html")
    write_atomically(page, cohort_page(table))
    return page


def scored(part: Sifted, where: Place, table: Path | None, wanted: Wanted, running: Running) -> list[Entry]:
    """Score scans in this process, in worker processes or on a cluster, and say on stderr how it goes."""
    from vae_loc.batch import locate_cases
    from vae_loc.ledger import row_of

    jobs = _jobs(running, wanted, len(part.cases))
    if running.scheduler is None and (jobs == 1 or wanted.device != "cpu"):
        wanted = replace(wanted, device=prepared_device(wanted.device, wanted.threads))
    said: set[str] = set()
    with EventLog(running.log_json) as log, talking(running.quiet or log.on_stderr) as bars:

        def each(entry: Entry) -> None:
            log("scan", row_of(entry, where.folder, wanted.methods))
            for note in entry.notes:
                if note not in said and not running.quiet and not log.on_stderr:
                    complain(note)
                said.add(note)

        start = {"version": __version__, "scans": len(part.all_cases), "jobs": jobs, "shard": list(running.shard)}
        log("start", start | {"scheduler": running.scheduler})
        entries = locate_cases(
            part,
            where,
            wanted,
            run=_engine(jobs, running.scheduler),
            table=table,
            skip_existing=running.skip_existing,
            bars=bars,
            each=each,
        )
        counts = {status: sum(entry.status == status for entry in entries) for status in ("done", "skipped", "failed")}
        log("end", counts | {"table": table and str(table)})
        return entries


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


def _jobs(running: Running, wanted: Wanted, scans: int) -> int:
    """Return how many processes score scans; a GPU is not shared unless asked for."""
    from vae_loc.workers import default_jobs, usable_cpus

    pays = usable_cpus() if running.scheduler else default_jobs(scans) if wanted.device == "cpu" else 1
    asked = running.jobs or pays
    return min(asked, max(1, scans))


def _engine(jobs: int, scheduler: str | None) -> Run:
    from vae_loc.workers import in_processes, in_turn

    if scheduler is not None:
        from vae_loc.cluster import on_cluster

        return functools.partial(on_cluster, scheduler=scheduler, jobs=jobs)
    return in_turn if jobs == 1 else functools.partial(in_processes, jobs=jobs, preload="vae_loc.batch")
