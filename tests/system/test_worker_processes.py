"""Tasks in worker processes: a death costs one task."""

import functools

from support.tasks import die, square

from vae_loc.system.worker_processes import default_jobs, in_processes, in_turn, usable_cpus


def test_processes_give_what_one_process_gives():
    numbers = list(range(9))
    expected = list(in_turn(square, numbers))
    assert sorted(in_processes(square, numbers, jobs=3, preload="vae_loc.errors")) == expected
    assert list(in_processes(square, [], jobs=3, preload="vae_loc.errors")) == []


def test_a_task_that_kills_its_process_costs_no_other(tmp_path):
    found = dict(in_processes(functools.partial(die, tmp_path), list(range(8)), jobs=2, preload="vae_loc.errors"))
    assert found == {n: None if n == 3 else n * n for n in range(8)}


def test_few_scans_need_no_processes():
    assert default_jobs(1) == default_jobs(7) == 1
    assert default_jobs(1000) == usable_cpus() >= 1
