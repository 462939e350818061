"""A failing disk and SIGKILL leave whole files; `benchmarks.robustness.crash` tries every point, here some."""

import os
import subprocess
import sys

import pytest
from support.places import ROOT

BENCHMARK = [sys.executable, "-m", "benchmarks.robustness.crash"]


@pytest.mark.full
@pytest.mark.parametrize(
    "arguments",
    [
        ["faults", "--commands", "score", "--errors", "ENOSPC", "--step", "3", "--rerun-every", "9"],
        ["faults", "--commands", "train", "--errors", "EIO", "--step", "15", "--rerun-every", "9"],
        ["kills", "--commands", "segment", "--step", "11", "--random", "1"],
        ["kills", "--commands", "train", "--step", "60", "--random", "1"],
    ],
    ids=lambda arguments: " ".join(arguments[:3]),
)
def test_every_file_is_old_or_new_and_the_next_run_succeeds(arguments):
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run([*BENCHMARK, *arguments], capture_output=True, text=True, env=environment, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert "all as promised" in done.stdout
