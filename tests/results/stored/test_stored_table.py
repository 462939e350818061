"""The cohort table follows the scores JSONs, and keeps what only the run that scored them knew."""

import shutil

import pytest
from support.commands import invoke, names, rows


@pytest.fixture
def out(mixed_folder, small_model, tmp_path):
    """Outputs of three scans, and a row of one that failed."""
    invoke("segment", mixed_folder, "-m", small_model, "-o", tmp_path / "out", "-q", "--jobs", "1", code=3)
    return tmp_path / "out"


def test_without_a_level_the_table_stays_as_it_is(out, small_model):
    before = (out / "cohort.csv").read_bytes()
    invoke("report", out, "-m", small_model, "-q")
    assert (out / "cohort.csv").read_bytes() == before


def test_a_scan_that_failed_stays_in_the_table(out, small_model):
    before = rows(out / "cohort.csv")
    invoke("report", out, "-m", small_model, "-q", "--fpr", "0.01")
    after = rows(out / "cohort.csv")
    assert [row["status"] for row in after] == ["done", "done", "failed", "done"]
    assert after[2] == before[2]
    assert {row["combi_threshold"] for row in after} != {row["combi_threshold"] for row in before}
    assert [row["seconds"] for row in after] == [row["seconds"] for row in before]


def test_a_table_is_made_where_there_is_none(out, small_model):
    before = {row["scan"]: row["scores"] for row in rows(out / "cohort.csv") if row["status"] == "done"}
    (out / "cohort.csv").unlink()
    invoke("report", out, "-m", small_model, "-q")
    assert {row["scan"]: row["scores"] for row in rows(out / "cohort.csv")} == before
    assert (out / "cohort.html").exists()


def test_the_parts_of_a_cohort_become_one_table_and_page(mixed_folder, small_model, tmp_path):
    out = tmp_path / "out"
    for part, code in (("1/2", 3), ("2/2", 3)):
        options = ["-m", small_model, "-o", out, "-q", "--jobs", "1", "--shard", part]
        invoke("segment", mixed_folder, *options, code=code if part == "1/2" else 0)
    invoke("report", out, "-m", small_model, "-q", "--fpr", "0.01")
    parts = [row for part in (1, 2) for row in rows(out / f"cohort_part-{part}-of-2.csv")]
    assert rows(out / "cohort.csv") == parts
    assert len(parts) == 4


def test_a_scan_that_was_scored_alone_joins_the_table(out, healthy_folder, small_model):
    invoke("segment", healthy_folder / "sub4_t1.nii.gz", "-m", small_model, "-o", out, "-q")
    invoke("report", out, "-m", small_model, "-q")
    assert [row["subject"] for row in rows(out / "cohort.csv")] == ["sub0", "sub1", "sub1a", "sub2", "sub4"]


def test_one_scan_alone_has_no_table(healthy_folder, small_model, tmp_path):
    invoke("segment", healthy_folder / "sub4_t1.nii.gz", "-m", small_model, "-o", tmp_path, "-q")
    invoke("report", tmp_path, "-m", small_model, "-q")
    assert not [name for name in names(tmp_path) if name.startswith("cohort")]


def test_results_that_were_moved_are_found_with_their_table(out, small_model, tmp_path):
    moved = shutil.move(out, tmp_path / "elsewhere")
    invoke("report", moved, "-m", small_model, "-q")
    assert (tmp_path / "elsewhere" / "cohort.html").exists()
