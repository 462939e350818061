"""Tasks on a dask cluster: a local one, one of SLURM jobs, or one that runs already."""

from __future__ import annotations

import contextlib
import functools
import json
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from vae_loc.errors import UnusableInput, UnusableOption
from vae_loc.system.reading import read_text
from vae_loc.system.worker_processes import ResultT, TaskT

if TYPE_CHECKING:
    from distributed import Client

LOCAL, SLURM = "dask", "slurm"
# The second death of a worker makes its task a failure, as with worker processes. dask blames all tasks that a worker
# was given, so it is given one at a time. The workers' HTTP servers, which cannot be left out, have no page.
OURS = {
    "distributed.scheduler.allowed-failures": 1,
    "distributed.scheduler.worker-saturation": 1.0,
    "distributed.scheduler.http.routes": [],
    "distributed.worker.http.routes": [],
    "distributed.nanny.pre-spawn-environ": {},  # dask's would give memory back at once, and each scan take it anew
    "distributed.nanny.environ.DASK_DISTRIBUTED__WORKER__HTTP__ROUTES": "[]",
}
TIMEOUT_S = 60  # to reach a scheduler
SLURM_JOB = {"cores": 1, "processes": 1, "memory": "4 GB"}  # where dask-jobqueue's own settings say nothing


def on_cluster(
    work: Callable[[TaskT], ResultT], tasks: Sequence[TaskT], *, scheduler: str, jobs: int
) -> Iterator[tuple[int, ResultT | None]]:
    """Yield index and result of every task as it is done, on a dask.distributed cluster; None if it kills workers.

    Parameters
    ----------
    work : a function of a module that the workers can import, and its `functools.partial`
    scheduler : `dask` for a cluster of `jobs` processes on this machine, `slurm` for one of `jobs` SLURM jobs, as
        dask-jobqueue's settings describe them, an address, or a scheduler file

    dask begins a task again whose worker died, and also one that was done, if its result had not been fetched.

    Raises
    ------
    UnusableOption : if there is no such cluster, it has no TLS, or its workers do not have this package.
    """
    with _client(scheduler, jobs) as client:
        from distributed import KilledWorker, as_completed

        here = functools.partial(_here, os.getcwd(), work)
        index_of = {client.submit(here, task, pure=False): index for index, task in enumerate(tasks)}
        for future in as_completed(index_of):
            error = future.exception() if future.status == "error" else None
            if error is not None and not isinstance(error, KilledWorker):
                raise UnusableOption("--scheduler", f"its workers failed ({error!r}); install vae-loc there") from error
            yield index_of[future], future.result() if error is None else None
            future.release()


def _here(folder: str, work: Callable[[TaskT], ResultT], task: TaskT) -> ResultT:
    """Do a task where the command was given, so that relative paths mean the same."""
    os.chdir(folder)
    return work(task)


@contextlib.contextmanager
def _client(scheduler: str, jobs: int) -> Iterator[Client]:
    """Connect to a cluster, which is started here if it is `dask` or `slurm`, with TLS by keys of this run alone."""
    try:
        import cryptography  # noqa: F401 - dask makes keys by it, and misses it late
        import dask
        from distributed import Client, LocalCluster, Security

        if scheduler == SLURM:
            from dask_jobqueue import SLURMCluster
    except ImportError as error:
        raise UnusableOption("--scheduler", f"needs {error.name}; pip install 'vae-loc[cluster]'") from error
    with contextlib.ExitStack() as stack:
        stack.enter_context(dask.config.set(OURS))
        if scheduler not in (LOCAL, SLURM):
            yield stack.enter_context(_running(scheduler))
            return
        keys = {"security": Security.temporary(), "protocol": "tls://"}
        page = "127.0.0.1:0"
        if scheduler == LOCAL:
            cluster = LocalCluster(
                n_workers=jobs, threads_per_worker=1, dashboard_address=page, silence_logs=logging.CRITICAL, **keys
            )
        else:
            own = dask.config.get("jobqueue.slurm", {})
            job = {name: value for name, value in SLURM_JOB.items() if not own.get(name)}
            # the jobs find the keys in the working folder, where no other user may read them
            cluster = SLURMCluster(
                **job, **keys, shared_temp_directory=os.getcwd(), scheduler_options={"dashboard_address": page}
            )
            cluster.scale(jobs=jobs)
        stack.enter_context(cluster)
        cluster.scheduler.http_server.stop()  # no page is shown
        yield stack.enter_context(Client(cluster))


def _running(scheduler: str) -> Client:
    """Return a client of a cluster that runs already; with TLS by dask's own settings (distributed.comm.tls)."""
    from distributed import Client

    address = scheduler
    if "://" not in scheduler:
        try:
            address = str(json.loads(read_text(Path(scheduler), "a scheduler file"))["address"])
        except (UnusableInput, ValueError, KeyError, TypeError) as error:
            what = "expected dask, slurm, tls://host:port or the file that dask scheduler writes"
            raise UnusableOption("--scheduler", f"{what}, got {scheduler}") from error
    if not address.startswith("tls://"):
        why = "whoever reaches its ports can run code in it; start it with TLS"
        raise UnusableOption("--scheduler", f"expected a cluster with TLS (tls://), found {address}: {why}")
    try:
        return Client(address, timeout=TIMEOUT_S)
    except (OSError, ValueError, TypeError) as error:
        raise UnusableOption("--scheduler", f"{scheduler} was not reached: {error}") from error
