"""Many scans -> their files and the cohort table, in this process, in several, or on a cluster."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from vae_loc.errors import UnusableOption, VaeLocError, WorkerDied, printable
from vae_loc.results.cohort_table import Entry, failure, table_name, write_tables
from vae_loc.results.groups.group_tables import write_group_tables
from vae_loc.results.output_names import OutputNames, folder_names, refuse_clashes
from vae_loc.scans.cases import Case, Sifted, find_cases, shard_of, sift
from vae_loc.scans.dicom_headers import Series
from vae_loc.scans.dicom_series import Converted, convert_dicom
from vae_loc.system.progress import BarMaker, no_bars
from vae_loc.system.versions import own_version
from vae_loc.system.worker_processes import JOB_MB, default_jobs, fitting_jobs, in_processes, in_turn, usable_cpus

if TYPE_CHECKING:
    from vae_loc.results.persons.person_outputs import PersonResult
    from vae_loc.results.score_scan import Task
    from vae_loc.scoring.score_options import RunOptions, ScoreOptions

    Engine = Callable[[Callable[[Task], Entry], Sequence[Task]], Iterator[tuple[int, Entry | None]]]

SOME_FAILED = 3  # exit code of a cohort of which some scans were scored


@dataclass(frozen=True)
class Listener:
    """The receivers of the progress of a run; the defaults do nothing.

    Attributes
    ----------
    bars : starts a progress bar
    event : receives the start, each scan and the end
    note : receives notes for the user, each text once
    """

    bars: BarMaker = no_bars
    event: Callable[[str, Mapping[str, object]], None] = lambda *_: None
    note: Callable[[str], None] = lambda _: None


SILENT = Listener()


@dataclass(frozen=True)
class Outcome:
    """The outcome of each scan, in the order they were asked for, that of their people, and the tables of all."""

    entries: list[Entry]
    tables: tuple[Path, ...] = ()
    persons: tuple[PersonResult, ...] = ()

    @property
    def failed(self) -> list[Entry]:
        """The entries of the scans that could not be scored."""
        return [entry for entry in self.entries if entry.status == "failed"]

    @property
    def exit_code(self) -> int:
        """The exit code of a command (docs/reference/exit-codes.md)."""
        failed = self.failed
        if not failed:
            return SOME_FAILED if any(person.error for person in self.persons) else 0
        return SOME_FAILED if len(failed) < len(self.entries) else failed[0].exit_code


def score_cohort(
    paths: Sequence[Path],
    output: Path,
    options: ScoreOptions,
    run: RunOptions,
    *,
    series: str | None = None,
    listener: Listener = SILENT,
) -> Outcome:
    """Score the scans of files, folders, lists, tables and DICOM series into a folder, and write their table.

    Parameters
    ----------
    output : a folder, or the NIfTI file name of one scan's one map
    series : which series of a DICOM folder or zip that holds several

    Raises
    ------
    UnusableInput : if a place holds no scan, or `output` cannot be written; a scan's own faults are in its entry.
    UnusableOption : if options do not go together, or one needs a DICOM series and there is none.
    UnusableModel : if the model named cannot be used.
    """
    # DICOM series become NIfTI beside the outputs
    folder = output.parent if output.name.lower().endswith((".nii", ".nii.gz")) else output
    converted = convert_dicom(paths, folder, wanted=series, contrast=options.contrast, force=options.force)
    if not converted.series and not converted.faults and (options.dicom_seg or series is not None):
        option = "--series" if series is not None else "--dicom-seg"
        raise UnusableOption(option, "none of the scans is a DICOM folder or zip; leave it out")
    for scan, one in converted.series.items():
        listener.note(f"{printable(one.source)}: DICOM, converted to {printable(scan)}")
    # a converted scan stays only beside outputs of it
    try:
        outcome = _scored(converted, paths, output, options, run, listener)
    except VaeLocError:
        converted.remove(converted.written)
        raise
    converted.remove([entry.case.scan for entry in outcome.failed if entry.scores is None])
    return outcome


def _scored(
    converted: Converted,
    paths: Sequence[Path],
    output: Path,
    options: ScoreOptions,
    run: RunOptions,
    listener: Listener,
) -> Outcome:
    """Score the scans of paths whose DICOM series are converted, and write their table; as `score_cohort`."""
    cases = find_cases(converted.paths, stated_only=options.model is None and not options.force)
    cases = [converted.with_header(case, options.contrast) for case in cases]
    part = sift(shard_of(cases, *run.shard), volume=options.volume, known=converted.faults)
    if not part.cases:  # nothing slow is imported for scans whose headers cannot be used
        return Outcome([failure(case, part.faults[case]) for case in part.all_cases])
    # no output may replace an input, another output, or a file of the user's
    scans, maps = [case.scan for case in cases], len(options.methods)
    names = folder_names(output, scans=scans, methods=maps, polarity=options.polarity)
    table = names.folder / table_name(*run.shard)
    several = len(cases) > 1 and names.map_file is None
    refuse_clashes(cases, names, options, others=paths, table=table if several else None)
    outcome = score_cases(cases, part, names, options, run, series=converted.series, listener=listener)
    tables = write_tables(table, outcome.entries, options.methods, new=several, report=options.files.report)
    return finished(replace(outcome, tables=tables + (write_group_tables(table) if tables else ())), listener)


def score_cases(
    cases: Sequence[Case],
    part: Sifted,
    names: OutputNames,
    options: ScoreOptions,
    run: RunOptions,
    *,
    series: Mapping[Path, Series] | None = None,
    listener: Listener,
) -> Outcome:
    """Score scans, segment them and merge those of one person if asked to.

    Parameters
    ----------
    cases : all scans of the cohort
    part : those to score, whose entries are in the order they were asked for
    series : the DICOM series that scans were converted from

    Raises
    ------
    UnusableModel : if the model named cannot be used; all that is wrong with a scan is noted in its entry.
    """
    from vae_loc.model.network import load_model, prepared_device
    from vae_loc.results.persons.person_outputs import write_persons
    from vae_loc.results.score_scan import Task, score_task

    jobs = _jobs(options, run, len(part.cases), listener)
    if run.scheduler is None and (jobs == 1 or options.device != "cpu"):
        options = replace(options, device=prepared_device(options.device, options.threads))
    start = {"version": own_version(), "scans": len(part.all_cases), "jobs": jobs, "shard": list(run.shard)}
    listener.event("start", start | {"scheduler": run.scheduler})
    if options.model is not None:
        load_model(options.model)
    # scans whose headers cannot be used, then each as it is done
    entries = {case: failure(case, error) for case, error in part.faults.items()}
    for entry in entries.values():
        listener.event("scan", entry.row(names.folder, options.methods))
    known = series or {}
    tasks = [Task(case, names.only(case.scan), run.skip_existing, known.get(case.scan)) for case in part.cases]
    said: set[str] = set()
    advance = listener.bars("scoring", len(tasks))
    for index, result in _engine(jobs, run)(functools.partial(score_task, options), tasks):
        case = part.cases[index]
        entries[case] = result or failure(case, WorkerDied(case.scan))
        listener.event("scan", entries[case].row(names.folder, options.methods))
        for note in dict.fromkeys(entries[case].notes):
            if note not in said:
                listener.note(note)
        said.update(entries[case].notes)
        advance(case.scan.name)
    mine = [entries[case] for case in part.all_cases]
    # people of whom several contrasts were scored
    persons = write_persons(cases, mine, names, run, new=options.files.segmentation is not None, bars=listener.bars)
    for person in persons:
        listener.event("person", person.row())
        if person.note:
            listener.note(person.note)
    return Outcome(mine, persons=tuple(persons))


def finished(outcome: Outcome, listener: Listener) -> Outcome:
    """Tell the listener that a run has ended; return its outcome."""
    statuses = [entry.status for entry in outcome.entries]
    counts = {status: statuses.count(status) for status in ("done", "skipped", "failed")}
    listener.event("end", counts | {"table": str(outcome.tables[0]) if outcome.tables else None})
    return outcome


def _jobs(options: ScoreOptions, run: RunOptions, scans: int, listener: Listener) -> int:
    """Return the number of processes: as asked for, else as many as pay; fewer where the memory holds fewer."""
    # a GPU is not shared unless asked for
    pays = usable_cpus() if run.scheduler else default_jobs(scans) if options.device == "cpu" else 1
    jobs = min(run.jobs or pays, max(1, scans))
    if run.scheduler is None and jobs > (fits := fitting_jobs()):
        why = f"each process takes up to {JOB_MB} MB, and the free memory holds {fits}"
        listener.note(f"--jobs {jobs}: {why}; {fits} {'runs' if fits == 1 else 'run'}")
        return fits
    return jobs


def _engine(jobs: int, run: RunOptions) -> Engine:
    """Return a function that applies another to each task and yields index and result, None if its process died."""
    if run.scheduler is not None:
        from vae_loc.system.dask_cluster import on_cluster

        return functools.partial(on_cluster, scheduler=run.scheduler, jobs=jobs)
    return in_turn if jobs == 1 else functools.partial(in_processes, jobs=jobs, preload="vae_loc.results.score_scan")
