"""A cohort in worker processes: every scan is a row, once, whatever happens to processes."""

import json
import os
import signal
from pathlib import Path

import pytest
from support.commands import finish, rows, start, wait_for
from support.corpus import GOOD, RANDOM
from support.marks import full


def workers_of(process):
    """Process numbers of a command's workers: the children of its child, the fork server."""
    parents = {}
    for place in Path("/proc").glob("[0-9]*/stat"):
        try:
            content = place.read_text()
        except OSError:
            continue
        parents[int(place.parent.name)] = int(content.rpartition(")")[2].split()[1])
    return [pid for pid, parent in parents.items() if parents.get(parent) == process.pid]


def lives(pid):
    """Tell whether a process runs; a zombie has no command line."""
    try:
        return bool(Path(f"/proc/{pid}/cmdline").read_bytes())
    except OSError:
        return False


@pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="Linux only")
class TestKilled:
    @pytest.fixture
    def arguments(self, tmp_path, small_model):
        (tmp_path / "in").mkdir()
        for number in range(6):
            (tmp_path / "in" / f"s{number:02}_t1.nii").write_bytes(GOOD)
        return ["score", tmp_path / "in", "-m", small_model, "-o", tmp_path / "out", "--jobs", 2]

    def test_a_worker_killed_half_way_costs_no_scan(self, arguments, tmp_path, healthy_folder):
        log = tmp_path / "log.jsonl"
        process = start(*arguments, "--log-json", log)
        wait_for(lambda: log.exists() and log.read_text().count('"scan"') >= 2)
        os.kill(workers_of(process)[0], signal.SIGKILL)
        code, _, err = finish(process)
        assert code == 0, err
        assert [row["status"] for row in rows(tmp_path / "out" / "cohort.csv")] == ["done"] * 6
        assert [row["subject"] for row in rows(tmp_path / "out" / "cohort.csv")] == [f"s{n:02}" for n in range(6)]
        scans = [json.loads(line)["scan"] for line in log.read_text().splitlines() if '"scan": ' in line]
        assert len(scans) == len(set(scans)) == 6

    @pytest.mark.parametrize("number", [signal.SIGTERM, full(signal.SIGKILL)])
    def test_the_end_of_the_command_is_the_end_of_its_workers(self, arguments, tmp_path, number):
        log = tmp_path / "log.jsonl"
        process = start(*arguments, "--log-json", log)
        wait_for(lambda: log.exists() and '"event": "scan"' in log.read_text())
        workers = workers_of(process)
        assert len(workers) == 2
        process.send_signal(number)
        code, _, err = finish(process)
        assert code == (-number if number == signal.SIGKILL else 128 + number), err
        wait_for(lambda: not any(map(lives, workers)), 10)

    @pytest.mark.full
    def test_a_scan_of_random_bytes_is_a_row_in_processes_too(self, arguments, tmp_path):
        (tmp_path / "in" / "s03_t1.nii").write_bytes(GOOD[:352] + RANDOM)
        code, _, err = finish(start(*arguments))
        assert code == 3
        assert err.count("vae-loc: ") == 1
        assert [row["status"] for row in rows(tmp_path / "out" / "cohort.csv")].count("done") == 5
