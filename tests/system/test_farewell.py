"""A command that a signal ends says what is done and how to go on."""

import signal

import pytest
from support.commands import finish, invoke, rows, start, wait_for
from support.corpus import GOOD
from support.marks import full

from vae_loc.system.farewell import farewell, last_words


def test_only_a_run_in_progress_has_last_words():
    assert last_words() == b""
    with farewell(lambda: "2 of 3"), farewell(lambda: ""):
        assert last_words() == b"2 of 3\n"
    assert last_words() == b""


@pytest.mark.parametrize(("number", "jobs", "quiet"), [(signal.SIGINT, "1", False), full(signal.SIGTERM, "2", False),
                                                       full(signal.SIGINT, "2", True)])  # fmt: skip
def test_an_interrupted_cohort_says_how_to_go_on_and_does(tmp_path, small_model, number, jobs, quiet):
    scans, out = tmp_path / "scans", tmp_path / "out"
    scans.mkdir()
    for copy in range(12):
        (scans / f"{copy:02}_t1.nii").write_bytes(GOOD)
    command = ["segment", scans, "-m", small_model, "-o", out, "--jobs", jobs, *(["--quiet"] if quiet else [])]
    running = start(*command)
    wait_for(lambda: len(list(out.glob("*_scores.json"))) > 1)
    running.send_signal(number)
    code, _, said = finish(running)
    assert code == 128 + number
    if quiet:
        assert said == ""
        return
    last = said.splitlines()[-1]
    assert last.startswith("vae-loc: interrupted; ")
    done = int(last.split()[2])
    assert 0 < done <= len(list(out.glob("*_scores.json"))) < 12
    assert last.endswith("The same command with --skip-existing goes on from there")
    invoke(*command, "--skip-existing")
    assert sum(row["status"] == "skipped" for row in rows(out / "cohort.csv")) >= done
