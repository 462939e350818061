"""Tasks in worker processes: a death costs one task."""

import functools

import pytest
from support.tasks import die, square

from vae_loc.system import worker_processes
from vae_loc.system.worker_processes import default_jobs, fitting_jobs, in_processes, in_turn, usable_cpus


def test_processes_give_what_one_process_gives():
    numbers = list(range(9))
    expected = list(in_turn(square, numbers))
    assert sorted(in_processes(square, numbers, jobs=3, preload="vae_loc.errors")) == expected
    assert list(in_processes(square, [], jobs=3, preload="vae_loc.errors")) == []


def test_a_task_that_kills_its_process_costs_no_other(tmp_path):
    found = dict(in_processes(functools.partial(die, tmp_path), list(range(8)), jobs=2, preload="vae_loc.errors"))
    assert found == {n: None if n == 3 else n * n for n in range(8)}


@pytest.mark.parametrize(
    ("free", "limit", "jobs"),
    [("MemFree: 9 kB\nMemAvailable: 2097152 kB\n", "max\n", 2), ("MemAvailable: 2097152 kB\n", f"{2**30}\n", 1),
     ("MemAvailable: 9 kB\n", "max\n", 1), (None, f"{4 * 2**30}\n", 5)],
)  # fmt: skip
def test_as_many_processes_run_as_the_memory_of_machine_and_container_holds(tmp_path, monkeypatch, free, limit, jobs):
    for name, text in (("FREE_MEMORY", free), ("MEMORY_LIMIT", limit)):
        monkeypatch.setattr(worker_processes, name, tmp_path / name)
        if text is not None:
            (tmp_path / name).write_text(text)
    assert fitting_jobs() == jobs
    assert default_jobs(1000) == min(jobs, usable_cpus())


def test_few_scans_need_no_processes():
    assert default_jobs(1) == default_jobs(7) == 1
    assert default_jobs(1000) == min(usable_cpus(), fitting_jobs()) >= 1
