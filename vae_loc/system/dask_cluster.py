"""Tasks on a dask cluster: a local one, one of SLURM jobs, or one that runs already."""

from __future__ import annotations

import contextlib
import functools
import json
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from vae_loc.errors import UnusableInput, UnusableOption
from vae_loc.system.reading import read_text

if TYPE_CHECKING:
    from distributed import Client

TaskT = TypeVar("TaskT")
ResultT = TypeVar("ResultT")

LOCAL, SLURM = "dask", "slurm"
# The second death of a worker makes its task a failure, as with worker processes. dask blames all tasks that a worker
# was given, so it is given one at a time.
# The workers' HTTP servers, which cannot be left out, have no page.
OURS = {
    "distributed.scheduler.allowed-failures": 1,
    "distributed.scheduler.worker-saturation": 1.0,
    "distributed.scheduler.http.routes": [],
    "distributed.worker.http.routes": [],
    "distributed.nanny.environ.DASK_DISTRIBUTED__WORKER__HTTP__ROUTES": "[]",
}
TIMEOUT_S = 60  # to reach a scheduler
SLURM_JOB = {"cores": 1, "processes": 1, "memory": "4 GB"}  # where dask-jobqueue's own settings say nothing


def on_cluster(
    work: Callable[[TaskT], ResultT], tasks: Sequence[TaskT], *, scheduler: str, jobs: int, insecure: bool = False
) -> Iterator[tuple[int, ResultT | None]]:
    """Yield index and result of every task as it is done, on a dask.distributed cluster; None if it kills workers.

    Parameters
    ----------
    work : a function of a module that the workers can import, and its `functools.partial`
    scheduler : `dask` for a cluster of `jobs` processes on this machine, `slurm` for one of `jobs` SLURM jobs, as
        dask-jobqueue's settings describe them, an address, or a scheduler file
    insecure : whether the cluster may do without TLS: then whoever reaches its ports can run code in it

    dask begins a task again whose worker died, and also one that was done, if its result had not been
    fetched: `work` must find what it had finished.

    Raises
    ------
    UnusableOption : if there is no such cluster, or its workers do not have this package.
    """
    with _client(scheduler, jobs, insecure) as client:
        from distributed import KilledWorker, as_completed

        here = functools.partial(_here, os.getcwd(), work)
        index_of = {client.submit(here, task, pure=False): index for index, task in enumerate(tasks)}
        for future in as_completed(index_of):
            error = future.exception() if future.status == "error" else None
            if error is not None and not isinstance(error, KilledWorker):
                raise UnusableOption(
                    "--scheduler", f"its workers cannot score ({error!r}); install vae-loc there"
                ) from error
            yield index_of[future], future.result() if error is None else None
            future.release()


def _here(folder: str, work: Callable[[TaskT], ResultT], task: TaskT) -> ResultT:
    """Do a task where the command was given, so that relative paths mean the same."""
    os.chdir(folder)
    return work(task)


@contextlib.contextmanager
def _client(scheduler: str, jobs: int, insecure: bool) -> Iterator[Client]:
    try:
        import dask
        from distributed import Client, LocalCluster
    except ImportError as error:
        raise UnusableOption("--scheduler", f"needs {error.name}; pip install 'vae-loc[cluster]'") from error
    with contextlib.ExitStack() as stack:
        stack.enter_context(dask.config.set(OURS))
        if scheduler == LOCAL:
            cluster = LocalCluster(
                n_workers=jobs,
                threads_per_worker=1,
                dashboard_address="127.0.0.1:0",
                silence_logs=logging.CRITICAL,
                **_secured(insecure),
            )
            stack.enter_context(cluster)
            cluster.scheduler.http_server.stop()  # no page is shown
            yield stack.enter_context(Client(cluster))
        elif scheduler == SLURM:
            yield stack.enter_context(Client(stack.enter_context(_slurm_cluster(jobs, insecure))))
        else:
            yield stack.enter_context(_running(scheduler, insecure))


def _secured(insecure: bool) -> dict[str, Any]:
    """Return what gives a cluster TLS with keys of its own, which live as long as it does; nothing if insecure."""
    if insecure:
        return {}
    from distributed import Security

    try:
        return {"security": Security.temporary(), "protocol": "tls://"}
    except ImportError as error:
        raise UnusableOption(
            "--scheduler",
            "needs cryptography for TLS; pip install 'vae-loc[cluster]', or give --insecure: then whoever reaches the "
            "ports of the cluster, as every user of this machine, can run code in it",
        ) from error


def _slurm_cluster(jobs: int, insecure: bool) -> contextlib.AbstractContextManager[object]:
    try:
        import dask
        from dask_jobqueue import SLURMCluster
    except ImportError as error:
        raise UnusableOption("--scheduler", f"slurm needs {error.name}; pip install 'vae-loc[cluster]'") from error
    unsaid = {name: value for name, value in SLURM_JOB.items() if not dask.config.get(f"jobqueue.slurm.{name}", None)}
    secured = _secured(insecure)
    if secured:  # where the jobs find the keys, which no other user may read
        secured["shared_temp_directory"] = os.getcwd()
    cluster = SLURMCluster(**unsaid, **secured, scheduler_options={"dashboard_address": "127.0.0.1:0"})
    cluster.scheduler.http_server.stop()
    cluster.scale(jobs=jobs)
    return cluster  # type: ignore[no-any-return]


def _running(scheduler: str, insecure: bool) -> Client:
    """Return a client of a cluster that runs already; with TLS by dask's own settings (distributed.comm.tls)."""
    from distributed import Client

    if "://" not in scheduler and not Path(scheduler).is_file():
        raise UnusableOption("--scheduler", f"expected dask, slurm, tcp://host:port or a file, got {scheduler}")
    address = scheduler if "://" in scheduler else _stated_address(Path(scheduler))
    if not insecure and not address.startswith("tls://"):
        raise UnusableOption(
            "--scheduler",
            f"expected a cluster with TLS (tls://), found {address}: whoever reaches its ports can run code in it; "
            "start it with TLS, or give --insecure",
        )
    try:
        if "://" in scheduler:
            return Client(scheduler, timeout=TIMEOUT_S)
        return Client(scheduler_file=scheduler, timeout=TIMEOUT_S)
    except (OSError, ValueError) as error:
        raise UnusableOption("--scheduler", f"{scheduler} was not reached: {error}") from error


def _stated_address(file: Path) -> str:
    """Return the address in a scheduler file."""
    try:
        return str(json.loads(read_text(file, "a scheduler file"))["address"])
    except (UnusableInput, ValueError, KeyError, TypeError) as error:
        raise UnusableOption("--scheduler", f"expected the file that dask scheduler writes, got {file}") from error
