"""A cohort: every scan is a row, once, whatever happens to scans and processes."""

import csv
import functools
import json
import os
import shutil
import signal
import time
from pathlib import Path

import pytest
from corpus import GOOD, RANDOM
from test_bad_input import run
from test_process import finish, names, start

from vae_loc.cli.options import parsed_shard
from vae_loc.errors import UnusableInput, UnusableOption
from vae_loc.results.cohort_table import row_of, table_name
from vae_loc.scans.cases import find_cases, shard_of
from vae_loc.system.worker_processes import default_jobs, in_processes, in_turn, usable_cpus


def rows(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def folder(healthy_folder, tmp_path):
    """Three scans, and one that is damaged, between them."""
    place = tmp_path / "in"
    place.mkdir()
    for number in range(3):
        shutil.copy(healthy_folder / f"sub{number}_t1.nii.gz", place)
    whole = (place / "sub1_t1.nii.gz").read_bytes()
    (place / "sub1a_t1.nii.gz").write_bytes(whole[: len(whole) // 2])
    return place


STATUSES = ["done", "done", "failed", "done"]


def test_every_scan_is_a_row_and_a_failed_one_is_exit_3(folder, tmp_path, small_model, monkeypatch, capsys):
    code, said = run(monkeypatch, capsys, "segment", folder, "-m", small_model, "-o", tmp_path / "out")
    assert code == 3
    assert said.err.count("\n") == 1
    assert said.out.splitlines()[-1] == str(tmp_path / "out" / "cohort.csv")
    table = rows(tmp_path / "out" / "cohort.csv")
    assert [row["status"] for row in table] == STATUSES
    assert [row["subject"] for row in table] == ["sub0", "sub1", "sub1a", "sub2"]
    assert "damaged" in table[2]["error"]
    assert not table[2]["scores"]
    for row in (table[0], table[1], table[3]):
        scores = json.loads((tmp_path / "out" / row["scores"]).read_text())
        assert float(row["elbo"]) == pytest.approx(scores["volume"]["elbo"], rel=1e-5)
        assert float(row["combi_lesion_ml"]) == pytest.approx(scores["masks"]["combi"]["volume_ml"], rel=1e-5)
        assert int(row["combi_lesions"]) == len(scores["masks"]["combi"]["components"])
        assert 0 <= float(row["combi_flagged"]) <= 1
        assert row["model"] == scores["model"]["sha256"]
        assert float(row["seconds"]) > 0
        assert not row["error"]


def test_the_documented_columns_are_those_of_the_table(request, tmp_path):
    from vae_loc.results.cohort_table import Entry
    from vae_loc.scans.cases import Case

    page = (request.config.rootpath / "docs/cohorts.md").read_text().split("## The cohort table")[1].split("\n## ")[0]
    documented = [
        cell.strip("`") for line in page.splitlines() if line.startswith("| `") for cell in line.split("|")[1].split()
    ]
    row = row_of(Entry(Case(Path("a.nii"), "a", None), "failed", 0.0), tmp_path, ["combi"])
    assert [name.replace("combi_", "<map>_") for name in row] == documented


def test_a_table_names_scan_mask_subject_and_contrast(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "c_brainmask.nii.gz").touch()
    (tmp_path / "list.csv").write_text(
        "age,scan,mask,subject,contrast\n41,deep/a_t1.nii,m.nii,Ann,FLAIR\n,deep/c_t1.nii,,,\n50,deep/d.nii\n"
    )
    first, second, third = find_cases([tmp_path / "list.csv"])
    assert (first.scan, first.brain_mask) == (tmp_path / "deep/a_t1.nii", tmp_path / "m.nii")
    assert (first.subject, first.contrast) == ("Ann", "flair")
    assert (second.subject, second.contrast) == ("c", None)
    assert second.brain_mask == tmp_path / "deep" / "c_brainmask.nii.gz"
    assert (third.subject, third.brain_mask) == ("d", None)
    assert len(find_cases([tmp_path / "list.csv"], contrast="t1")) == 2


@pytest.mark.parametrize(
    ("content", "words"),
    [("file,mask\na,b\n", "no scan"), ("scan,mask\n,b\n", "in every row"), ("scan\n", "in every row")],
)
def test_a_table_without_scans_is_refused(content, words, tmp_path):
    (tmp_path / "list.csv").write_text(content)
    with pytest.raises(UnusableInput, match=words):
        find_cases([tmp_path / "list.csv"])


def test_equal_names_in_different_folders_keep_all_their_outputs(tmp_path, small_model, monkeypatch, capsys):
    for place in ("a", "b", "c/a"):
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / "s_t1.nii").write_bytes(GOOD)
    (tmp_path / "a_s_t1.nii").write_bytes(GOOD)
    (tmp_path / "all.csv").write_text("scan\na/s_t1.nii\nb/s_t1.nii\nc/a/s_t1.nii\na_s_t1.nii\n")
    code, _ = run(monkeypatch, capsys, "score", tmp_path / "all.csv", "-m", small_model, "-o", tmp_path / "out")
    assert code == 0
    scores = [row["scores"] for row in rows(tmp_path / "out" / "cohort.csv")]
    assert len(set(scores)) == 4
    assert len(names(tmp_path / "out")) == 4 * 3 + 1


def test_a_table_written_is_a_list_of_scans_to_read(folder, tmp_path, small_model, monkeypatch, capsys):
    run(monkeypatch, capsys, "score", folder, "-m", small_model, "-o", tmp_path / "out")
    assert [case.scan.name for case in find_cases([tmp_path / "out" / "cohort.csv"])] == sorted(names(folder))


class TestSkipExisting:
    @pytest.fixture
    def scored(self, tmp_path, small_model, monkeypatch, capsys):
        (tmp_path / "in").mkdir()
        for name in ("a", "b"):
            (tmp_path / "in" / f"{name}_t1.nii").write_bytes(GOOD)

        def again(*options):
            arguments = ["score", tmp_path / "in", "-o", tmp_path / "out", *(options or ["-m", small_model])]
            assert run(monkeypatch, capsys, *arguments, "--skip-existing")[0] == 0
            return [row["status"] for row in rows(tmp_path / "out" / "cohort.csv")]

        assert again() == ["done", "done"]
        return again

    def test_whole_outputs_are_left_alone_and_their_rows_are_the_same(self, scored, tmp_path):
        before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir() if path.suffix != ".csv"}
        row = rows(tmp_path / "out" / "cohort.csv")[0]
        assert scored() == ["skipped", "skipped"]
        assert {path: path.stat().st_mtime_ns for path in before} == before
        again = rows(tmp_path / "out" / "cohort.csv")[0]
        assert {k: v for k, v in again.items() if k not in ("status", "seconds")} == {
            k: v for k, v in row.items() if k not in ("status", "seconds")
        }

    @pytest.mark.parametrize(
        ("kind", "how"),
        [("anomaly.nii.gz", "damaged"), ("anomaly.png", "cut"), ("anomaly.png", "gone"), ("scores.json", "cut"),
         ("scores.json", "empty")],
    )  # fmt: skip
    def test_outputs_that_are_not_whole_are_made_again(self, scored, tmp_path, kind, how):
        path = next(path for path in (tmp_path / "out").glob("b_*") if path.name.endswith(kind))
        whole = path.read_bytes()
        middle = len(whole) // 2
        changed = {
            "damaged": whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :],
            "cut": whole[:-10],
            "empty": b"",
        }
        path.unlink()
        if how != "gone":
            path.write_bytes(changed[how])
        assert scored() == ["skipped", "done"]
        assert path.read_bytes() == whole

    def test_other_options_or_another_model_make_them_again(self, scored, small_model):
        assert scored("-m", small_model, "--raw") == ["done", "done"]
        assert scored("-m", small_model, "--raw") == ["skipped", "skipped"]
        assert scored("-m", "t1", "--raw") == ["done", "done"]

    def test_another_scan_or_mask_of_the_same_name_is_scored(self, scored, tmp_path, healthy_folder):
        from corpus import MASK, raw_scan

        (tmp_path / "in" / "b_t1.nii").write_bytes(GOOD[:-1] + bytes([GOOD[-1] ^ 1]))
        assert scored() == ["skipped", "done"]
        (tmp_path / "in" / "a_brainmask.nii").write_bytes(raw_scan(MASK))
        assert scored() == ["done", "skipped"]

    def test_without_the_option_they_are_made_again(self, scored, tmp_path, small_model, monkeypatch, capsys):
        before = (tmp_path / "out" / "a_t1_scores.json").stat().st_ino
        run(monkeypatch, capsys, "score", tmp_path / "in" / "a_t1.nii", "-o", tmp_path / "out", "-m", small_model)
        assert (tmp_path / "out" / "a_t1_scores.json").stat().st_ino != before


class TestShards:
    def test_they_are_all_scans_once(self, folder):
        cases = find_cases([folder])
        for parts in (1, 2, 3, 7):
            shards = [shard_of(cases, part, parts) for part in range(1, parts + 1)]
            assert sorted(case.scan for shard in shards for case in shard) == [case.scan for case in cases]

    @pytest.mark.parametrize(("array", "expected"), [((0, 7, 1), 8), ((1, 8, 1), 8), ((0, 14, 2), 8), ((5, 5, 1), 1)])
    def test_slurm_arrays_of_any_numbering_are_all_parts(self, monkeypatch, array, expected):
        first, last, step = array
        tasks = range(first, last + 1, step)
        found = []
        for task in tasks:
            facts = {"ID": task, "COUNT": len(tasks), "MIN": first, "STEP": step}
            for name, value in facts.items():
                monkeypatch.setenv(f"SLURM_ARRAY_TASK_{name}", str(value))
            found.append(parsed_shard("slurm"))
        assert found == [(part, expected) for part in range(1, expected + 1)]

    @pytest.mark.parametrize("text", ["0/3", "4/3", "1", "a/b", "-1/2", "1/0", "slurm"])
    def test_what_is_no_shard_is_refused(self, text, monkeypatch):
        monkeypatch.delenv("SLURM_ARRAY_TASK_ID", raising=False)
        with pytest.raises(UnusableOption, match="--shard"):
            parsed_shard(text)

    def test_their_outputs_and_the_table_are_those_of_one_run(self, folder, tmp_path, small_model, monkeypatch, capsys):
        common = ["score", folder, "-m", small_model, "-o"]
        for part in (1, 2):
            code, _ = run(monkeypatch, capsys, *common, tmp_path / "parts", "--shard", f"{part}/2")
            assert code == (3 if part == 1 else 0)
        tables = {table_name(part, 2) for part in (1, 2)}
        assert tables <= names(tmp_path / "parts")
        run(monkeypatch, capsys, *common, tmp_path / "parts", "--skip-existing")
        run(monkeypatch, capsys, *common, tmp_path / "one")
        assert [row["status"] for row in rows(tmp_path / "parts/cohort.csv")] == [
            "skipped",
            "skipped",
            "failed",
            "skipped",
        ]
        for path in (tmp_path / "one").iterdir():
            if path.name != "cohort.csv":
                assert path.read_bytes() == (tmp_path / "parts" / path.name).read_bytes()

    def test_more_parts_than_scans_are_no_fault(self, folder, tmp_path, small_model, monkeypatch, capsys):
        code, _ = run(monkeypatch, capsys, "score", folder, "-m", small_model, "-o", tmp_path / "o", "--shard", "9/9")
        assert code == 0


def test_the_log_has_a_line_for_every_event(folder, tmp_path, small_model, monkeypatch, capsys):
    log = tmp_path / "log.jsonl"
    arguments = ["score", folder, "-m", small_model, "-o", tmp_path / "out", "--quiet"]
    run(monkeypatch, capsys, *arguments, "--log-json", log)
    events = [json.loads(line) for line in log.read_text().splitlines()]
    assert [event["event"] for event in events] == ["start", "scan", "scan", "scan", "scan", "end"]
    assert [event["status"] for event in events[1:-1]] == STATUSES
    assert events[-1]["failed"] == 1
    code, said = run(monkeypatch, capsys, *arguments, "--log-json", "-")
    assert code == 3
    assert [json.loads(line)["event"] for line in said.err.splitlines()] == [event["event"] for event in events]


def test_quiet_leaves_only_errors(folder, tmp_path, small_model, monkeypatch, capsys):
    _, said = run(monkeypatch, capsys, "score", folder, "-m", small_model, "-o", tmp_path / "out", "--quiet")
    assert said.out == ""
    assert said.err.count("\n") == 1


def square(number):
    return number * number


def die(place, number):
    """Kill the process at 3 always, at 5 the first time."""
    if number == 3 or (number == 5 and not (place / "five").exists()):
        (place / "five").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return square(number)


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


def wait_for(condition, seconds=60):
    for _ in range(int(seconds * 50)):
        if found := condition():
            return found
        time.sleep(0.02)
    raise AssertionError("waited in vain")


@pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="Linux only")
class TestKilled:
    @pytest.fixture
    def arguments(self, tmp_path, small_model):
        (tmp_path / "in").mkdir()
        for number in range(8):
            (tmp_path / "in" / f"s{number:02}_t1.nii").write_bytes(GOOD)
        return ["score", tmp_path / "in", "-m", small_model, "-o", tmp_path / "out", "--jobs", 2]

    def test_a_worker_killed_half_way_costs_no_scan(self, arguments, tmp_path, healthy_folder):
        log = tmp_path / "log.jsonl"
        process = start(*arguments, "--log-json", log)
        wait_for(lambda: log.exists() and log.read_text().count('"scan"') >= 3)
        os.kill(workers_of(process)[0], signal.SIGKILL)
        code, _, err = finish(process)
        assert code == 0, err
        assert [row["status"] for row in rows(tmp_path / "out" / "cohort.csv")] == ["done"] * 8
        assert [row["subject"] for row in rows(tmp_path / "out" / "cohort.csv")] == [f"s{n:02}" for n in range(8)]
        scans = [json.loads(line)["scan"] for line in log.read_text().splitlines() if '"scan": ' in line]
        assert len(scans) == len(set(scans)) == 8

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
    def test_the_end_of_the_command_is_the_end_of_its_workers(self, arguments, tmp_path, number):
        log = tmp_path / "log.jsonl"
        process = start(*arguments, "--log-json", log)
        wait_for(lambda: log.exists() and '"event": "scan"' in log.read_text())
        workers = workers_of(process)
        assert len(workers) == 2
        process.send_signal(number)
        code, _, err = finish(process)
        assert code == (-number if number == signal.SIGKILL else 128 + number), err
        wait_for(
            lambda: (
                not [
                    pid
                    for pid in workers
                    if Path(f"/proc/{pid}/cmdline").exists() and Path(f"/proc/{pid}/cmdline").read_bytes()
                ]
            ),
            10,
        )

    def test_a_scan_of_random_bytes_is_a_row_in_processes_too(self, arguments, tmp_path):
        (tmp_path / "in" / "s03_t1.nii").write_bytes(GOOD[:352] + RANDOM)
        code, _, err = finish(start(*arguments))
        assert code == 3
        assert err.count("\n") == 1
        assert [row["status"] for row in rows(tmp_path / "out" / "cohort.csv")].count("done") == 7
