"""Tasks on this machine: one after the other, or in worker processes, where a death costs one task and not the run."""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import TypeVar

from vae_loc.errors import MachineFault, machine_fault
from vae_loc.system.writing import remove_in_hand

TaskT = TypeVar("TaskT")
ResultT = TypeVar("ResultT")

OPEN_FILES, OPEN_FILES_A_JOB = 18, 6  # of this process, and for each worker: pipes and locks
TASKS_A_WORKER = 4  # a worker's start costs as much CPU time as it takes to score that many scans
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
LOGGER = "vae_loc"  # of the library
TRACKER_WARNING = "ignore:resource_tracker"  # of semaphores, when a signal ended the command: it removes them then
JOB_MB = 800  # the peak of a process with whole heads of 1 mm (docs/measured/cost.md), or in template space, rounded up
FREE_MEMORY, MEMORY_LIMIT = "/proc/meminfo", "/sys/fs/cgroup/memory.max"  # of the machine, of a container
CPU_QUOTA = "/sys/fs/cgroup/cpu.max"  # of a container: microseconds of CPU time, and of wall time


def in_turn(work: Callable[[TaskT], ResultT], tasks: Sequence[TaskT]) -> Iterator[tuple[int, ResultT | None]]:
    """Yield the index and the result of every task, in this process."""
    return enumerate(map(work, tasks))


def in_processes(
    work: Callable[[TaskT], ResultT], tasks: Sequence[TaskT], *, jobs: int, preload: str
) -> Iterator[tuple[int, ResultT | None]]:
    """Yield index and result of every task as it is done, each in one of `jobs` processes; None if it kills them.

    Parameters
    ----------
    work : a function of a module, and its `functools.partial`; tasks and results travel between processes
    preload : the module whose imports the processes share

    Each process has one task at a time, so memory does not grow with the number of tasks. A task
    whose process died (out of memory, killed) is tried once more when the others are done, alone.
    """
    died: list[int] = []
    for index, result in _each_once(work, list(enumerate(tasks)), jobs, preload):
        if result is None:
            died.append(index)
        else:
            yield index, result
    for index in died:
        yield from _each_once(work, [(index, tasks[index])], 1, preload)


def usable_cpus() -> int:
    """Return the number of CPUs that this process may use: its affinity, and the quota of its container."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        with open(CPU_QUOTA) as file:
            quota, period = file.read().split()
        return max(1, min(cpus, int(quota) // int(period)))
    except (OSError, ValueError):  # no container, or "max"
        return cpus


def fitting_jobs() -> int:
    """Return the number of worker processes that the free memory holds, at least 1; as many as CPUs if not known."""
    known_mb = []
    with contextlib.suppress(OSError, ValueError, IndexError):
        known_mb.append(int(Path(FREE_MEMORY).read_text().split("MemAvailable:")[1].split()[0]) / 1024)
    with contextlib.suppress(OSError, ValueError):  # no container, or "max"
        known_mb.append(int(Path(MEMORY_LIMIT).read_text()) / 2**20)
    return max(1, int(min(known_mb) / JOB_MB)) if known_mb else usable_cpus()


def default_jobs(tasks: int) -> int:
    """Return the number of worker processes that pays: one per CPU, if they fit, and at least four tasks for each."""
    return max(1, min(usable_cpus(), fitting_jobs(), tasks // TASKS_A_WORKER))


def _each_once(
    work: Callable[[TaskT], ResultT], tasks: Sequence[tuple[int, TaskT]], jobs: int, preload: str
) -> Iterator[tuple[int, ResultT | None]]:
    """Yield index and result of every task as it is done; None if its process died."""
    _check_files(min(jobs, len(tasks)))
    if TRACKER_WARNING not in sys.warnoptions:  # which the tracker's own process is started with
        sys.warnoptions.append(TRACKER_WARNING)
    waiting = deque(tasks)
    flying: dict[Future[ResultT], tuple[ProcessPoolExecutor, int]] = {}

    def start_next(lane: ProcessPoolExecutor | None) -> None:
        index, task = waiting.popleft()
        try:
            lane = lane or _lane(preload)
            flying[lane.submit(work, task)] = lane, index
        except (OSError, EOFError) as error:
            for other, _ in flying.values():
                other.shutdown(wait=False, cancel_futures=True)
            why = machine_fault(error) or str(error) or "it ended at once"
            raise MachineFault("--jobs", f"no worker process could be started ({why}); give --jobs 1") from error

    for _ in range(min(jobs, len(tasks))):
        start_next(None)
    while flying:
        for future in wait(flying, return_when=FIRST_COMPLETED).done:
            lane, index = flying.pop(future)
            try:
                result = future.result()
            except BrokenProcessPool:
                result = None
            if result is None or not waiting:
                lane.shutdown()
            if waiting:
                start_next(None if result is None else lane)
            yield index, result


def _check_files(jobs: int) -> None:
    """Refuse processes for which too few files may be open: the server that forks them would print tracebacks."""
    try:
        import resource
    except ImportError:  # Windows
        return
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit != resource.RLIM_INFINITY and limit < (needed := OPEN_FILES + OPEN_FILES_A_JOB * jobs):
        why = f"{jobs} processes need {needed} open files, {limit} are allowed (ulimit -n)"
        raise MachineFault("--jobs", f"{why}; raise the limit or give --jobs 1")


def _lane(preload: str) -> ProcessPoolExecutor:
    """Return a pool of one process: whatever kills it is the task that it has.

    Forked from a server that has imported `preload` and no more: a fork of this process, with its threads,
    may hang, and a process from nothing imports for a second. Where there is no fork it is from nothing.
    """
    methods = multiprocessing.get_all_start_methods()
    context = multiprocessing.get_context("forkserver" if "forkserver" in methods else "spawn")
    if context.get_start_method() == "forkserver":
        context.set_forkserver_preload([preload])
    for name in THREAD_VARIABLES:
        os.environ.setdefault(name, "1")
    # the lowest level of the library's log that this process shows
    shown = min((handler.level for handler in logging.getLogger(LOGGER).handlers), default=logging.WARNING)
    return ProcessPoolExecutor(1, mp_context=context, initializer=_begin, initargs=(shown,))


def _begin(shown_level: int) -> None:
    """Leave Ctrl-C to the parent, end with it, whatever ends it, and log no more than it shows."""

    def leave(*_: object) -> None:
        remove_in_hand()
        os._exit(128 + signal.SIGTERM)

    def end_with(parent: BaseProcess) -> None:
        parent.join()
        leave()

    logging.getLogger(LOGGER).setLevel(shown_level)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, leave)
    if parent := multiprocessing.parent_process():
        threading.Thread(target=end_with, args=(parent,), daemon=True).start()
