"""A sweep: what is done is not done again, and a kill costs one run."""

import os
import signal
import subprocess
import sys
import time

import pytest
from support.places import ROOT
from support.sweeps import QUIET, SETTINGS, toy

from reproduction.sweep import RUNS, aggregated, keys_of, sweep
from vae_loc.errors import UnusableInput


@pytest.mark.full
def test_a_killed_sweep_resumes_to_the_identical_table(tmp_path):
    script = (
        "import time\n"
        "from pathlib import Path\n"
        "from support.sweeps import SETTINGS, QUIET, toy\n"
        "from reproduction.sweep import keys_of, sweep\n"
        "def slow(key):\n"
        "    time.sleep(0.2)\n"
        "    return toy(key)\n"
        f"sweep(keys_of(SETTINGS, 50), slow, Path({str(tmp_path / 'killed')!r}), jobs=1, bars=QUIET)\n"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "tests")))}
    process = subprocess.Popen([sys.executable, "-c", script], env=environment)
    while not (tmp_path / "killed" / RUNS).exists():
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = (tmp_path / "killed" / RUNS).read_text()
    keys = keys_of(SETTINGS, 3)
    sweep(keys, toy, tmp_path / "killed", jobs=1, bars=QUIET)
    sweep(keys, toy, tmp_path / "whole", jobs=1, bars=QUIET)
    after = (tmp_path / "killed" / RUNS).read_text()
    assert after.startswith(before)
    assert after == (tmp_path / "whole" / RUNS).read_text()


def test_a_finished_run_is_not_repeated(tmp_path):
    keys = keys_of(SETTINGS, 2)
    rows = sweep(keys[:4], toy, tmp_path, jobs=1, bars=QUIET)
    done = []
    more = sweep(keys, lambda key: done.append(key) or toy(key), tmp_path, jobs=1, bars=QUIET)
    assert done == keys[4:]
    assert more[:4] == rows


def test_processes_give_the_table_of_one(tmp_path):
    keys = keys_of(SETTINGS, 2)
    sweep(keys, toy, tmp_path / "two", jobs=2, bars=QUIET)
    sweep(keys, toy, tmp_path / "one", jobs=1, bars=QUIET)
    assert (tmp_path / "two" / RUNS).read_bytes() == (tmp_path / "one" / RUNS).read_bytes()


def test_a_folder_of_another_experiment_is_refused(tmp_path):
    sweep(keys_of(SETTINGS, 1), toy, tmp_path, jobs=1, bars=QUIET)
    with pytest.raises(UnusableInput, match=r"runs\.csv: expected the columns latents, seed, found letter"):
        sweep(keys_of([{"latents": 1}], 1), toy, tmp_path, jobs=1, bars=QUIET)


def test_seeds_are_summed_up():
    rows = [{"letter": "a", "seed": str(i), "score": str(i), "undefined": ""} for i in (1, 2, 6)]
    (entry,) = aggregated(rows, ["letter"], ["score", "undefined"])
    assert (entry["score mean"], entry["score min"], entry["score max"], entry["seeds"]) == (3, 1, 6, 3)
    assert entry["undefined mean"] == ""
