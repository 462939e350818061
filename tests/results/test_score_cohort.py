"""A cohort: every scan is a row, once, whatever happens to a scan."""

import json
from pathlib import Path

import pytest
from support.commands import invoke, names, rows, run

from vae_loc.results.cohort_table import Entry, table_name
from vae_loc.results.score_cohort import Listener, Outcome, score_cohort
from vae_loc.scans.cases import Case
from vae_loc.scoring.score_options import RunOptions, ScoreOptions

STATUSES = ["done", "done", "failed", "done"]


def test_every_scan_is_a_row_and_a_failed_one_is_exit_3(mixed_folder, tmp_path, small_model, monkeypatch, capsys):
    code, said = run(monkeypatch, capsys, "segment", mixed_folder, "-m", small_model, "-o", tmp_path / "out")
    assert code == 3
    assert sum("damaged" in line for line in said.err.splitlines()) == 1
    assert said.out.splitlines()[-1] == str(tmp_path / "out" / "cohort.csv")
    table = rows(tmp_path / "out" / "cohort.csv")
    assert [row["status"] for row in table] == STATUSES
    assert [row["subject"] for row in table] == ["sub0", "sub1", "sub1a", "sub2"]
    assert "damaged" in table[2]["error"]
    assert not table[2]["scores"]
    for row in (table[0], table[1], table[3]):
        scores = json.loads((tmp_path / "out" / row["scores"]).read_text())
        assert float(row["elbo"]) == pytest.approx(scores["volume"]["elbo"], rel=1e-5)
        assert float(row["combi_marked_ml"]) == pytest.approx(scores["masks"]["combi"]["volume_ml"], rel=1e-5)
        assert int(row["combi_findings"]) == len(scores["masks"]["combi"]["findings"])
        assert 0 <= float(row["combi_flagged"]) <= 1
        assert row["model"] == scores["model"]["sha256"]
        assert float(row["seconds"]) > 0
        assert not row["error"]


def test_the_log_has_a_line_for_every_event(mixed_folder, tmp_path, small_model, monkeypatch, capsys):
    log = tmp_path / "log.jsonl"
    arguments = ["score", mixed_folder, "-m", small_model, "-o", tmp_path / "out", "--quiet"]
    run(monkeypatch, capsys, *arguments, "--log-json", log)
    events = [json.loads(line) for line in log.read_text().splitlines()]
    assert [event["event"] for event in events] == ["start", "scan", "scan", "scan", "scan", "end"]
    assert [event["status"] for event in events[1:-1]] == STATUSES
    assert events[-1]["failed"] == 1
    code, said = run(monkeypatch, capsys, *arguments, "--log-json", "-", "--skip-existing")
    assert code == 3
    assert [json.loads(line)["event"] for line in said.err.splitlines()] == [event["event"] for event in events]


@pytest.mark.full
def test_the_outputs_and_the_table_of_shards_are_those_of_one_run(
    mixed_folder, tmp_path, small_model, monkeypatch, capsys
):
    common = ["score", mixed_folder, "-m", small_model, "-o"]
    for part in (1, 2):
        code, _ = run(monkeypatch, capsys, *common, tmp_path / "parts", "--shard", f"{part}/2")
        assert code == (3 if part == 1 else 0)
    assert {table_name(part, 2) for part in (1, 2)} <= names(tmp_path / "parts")
    run(monkeypatch, capsys, *common, tmp_path / "parts", "--skip-existing")
    run(monkeypatch, capsys, *common, tmp_path / "one")
    statuses = [row["status"] for row in rows(tmp_path / "parts/cohort.csv")]
    assert statuses == ["skipped", "skipped", "failed", "skipped"]
    for path in (tmp_path / "one").iterdir():
        if path.name != "cohort.csv":
            assert path.read_bytes() == (tmp_path / "parts" / path.name).read_bytes()


def test_more_parts_than_scans_are_no_fault(mixed_folder, tmp_path, small_model, monkeypatch, capsys):
    arguments = ["score", mixed_folder, "-m", small_model, "-o", tmp_path / "o"]
    assert run(monkeypatch, capsys, *arguments, "--shard", "9/9")[0] == 0


class Told:
    """A listener that keeps what it is told."""

    def __init__(self):
        self.events, self.notes, self.advanced = [], [], []
        self.listener = Listener(self.bars, lambda *event: self.events.append(event), self.notes.append)

    def bars(self, name, total):
        return lambda note: self.advanced.append((name, total, note))


def test_python_gets_an_outcome_and_a_listener_is_told(mixed_folder, tmp_path, small_model):
    told = Told()
    options = ScoreOptions(model=str(small_model))
    outcome = score_cohort([mixed_folder], tmp_path / "out", options, RunOptions(), listener=told.listener)
    assert [entry.status for entry in outcome.entries] == STATUSES
    assert outcome.exit_code == 3
    assert outcome.tables == (tmp_path / "out" / "cohort.csv",)
    assert [entry.case.scan.name for entry in outcome.failed] == ["sub1a_t1.nii.gz"]
    assert [name for name, _ in told.events] == ["start", "scan", "scan", "scan", "scan", "end"]
    assert told.advanced == [("scoring", 4, f"{name}_t1.nii.gz") for name in ("sub0", "sub1", "sub1a", "sub2")]


def test_more_processes_than_the_memory_holds_are_fewer_and_that_is_told(
    mixed_folder, tmp_path, small_model, monkeypatch
):
    told = Told()
    monkeypatch.setattr("vae_loc.results.score_cohort.fitting_jobs", lambda: 1)
    options = ScoreOptions(model=str(small_model))
    score_cohort([mixed_folder], tmp_path / "out", options, RunOptions(jobs=3), listener=told.listener)
    assert dict(told.events)["start"]["jobs"] == 1
    assert any(note.startswith("--jobs 3: each process takes") and note.endswith("; 1 runs") for note in told.notes)


def entry(status, exit_code=0):
    return Entry(Case(Path("a.nii"), "a", None), status, None, exit_code=exit_code)


@pytest.mark.parametrize(
    ("entries", "code"),
    [([], 0), ([entry("done"), entry("skipped")], 0), ([entry("failed", 4)], 4),
     ([entry("failed", 5), entry("failed", 4)], 5), ([entry("done"), entry("failed", 4)], 3)],
)  # fmt: skip
def test_an_outcome_s_exit_code_is_that_of_the_docs(entries, code):
    assert Outcome(entries).exit_code == code


def test_a_table_of_scans_is_not_replaced_by_the_cohort_s(mixed_folder, tmp_path, small_model, monkeypatch, capsys):
    table = tmp_path / "cohort.csv"
    table.write_text("scan\n" + "".join(f"{path}\n" for path in sorted(mixed_folder.glob("*.nii.gz"))))
    before = table.read_bytes()
    code, said = run(monkeypatch, capsys, "score", table, "-m", small_model, "-o", tmp_path)
    assert code == 4
    assert "expected an output that is no input" in said.err
    assert table.read_bytes() == before
    assert {path.name for path in tmp_path.iterdir()} == {"cohort.csv", mixed_folder.name}


def test_a_scan_scored_again_alone_has_its_new_row_in_the_cohort_s_table(
    mixed_folder, tmp_path, small_model, monkeypatch, capsys
):
    out = tmp_path / "out"
    options = ["-m", small_model, "-o", out, "--report"]
    run(monkeypatch, capsys, "segment", mixed_folder, *options, "--threshold", "1")
    before, page = rows(out / "cohort.csv"), (out / "cohort.html").read_text()
    invoke("segment", mixed_folder / "sub1_t1.nii.gz", *options, "--threshold", "2")
    after = rows(out / "cohort.csv")
    assert [row["scan"] for row in after] == [row["scan"] for row in before]
    assert [row["combi_threshold"] for row in after] == ["1.0", "2.0", "", "1.0"]
    assert after[2] == before[2]
    assert (out / "cohort.html").read_text() != page


def test_a_table_of_the_user_s_in_the_folder_is_left_as_it_is(mixed_folder, tmp_path, small_model):
    (tmp_path / "out").mkdir()
    scan = mixed_folder / "sub1_t1.nii.gz"
    (tmp_path / "out" / "cohort.csv").write_text(f"scan,age\n{scan},41\n")
    invoke("score", scan, "-m", small_model, "-o", tmp_path / "out")
    assert (tmp_path / "out" / "cohort.csv").read_text() == f"scan,age\n{scan},41\n"
