"""A stored scan is found by its path, by the cohort table, or beside its results."""

import shutil

import pytest
from support.commands import invoke, run


@pytest.fixture
def here(scan, small_model, tmp_path, monkeypatch):
    """A folder where a scan was segmented by a relative path, into `out`."""
    monkeypatch.chdir(tmp_path)
    invoke("segment", scan.name, "-m", small_model, "-o", "out", "-q")
    return tmp_path


def test_a_relative_path_holds_where_the_scan_was_scored(here, small_model):
    invoke("report", "out", "-m", small_model, "-q")
    assert (here / "out" / "pat_t1_report.html").exists()


def test_elsewhere_it_is_told_where_to_start(here, small_model, monkeypatch, capsys):
    (here / "other").mkdir()
    monkeypatch.chdir(here / "other")
    code, said = run(monkeypatch, capsys, "report", here / "out", "-m", small_model)
    assert code == 4
    assert "pat_t1.nii.gz: expected the scan of pat_t1_scores.json, found none" in said.err
    assert "or start where it was scored" in said.err


def test_a_scan_beside_its_results_is_found(here, small_model, monkeypatch):
    shutil.move(here / "pat_t1.nii.gz", here / "out" / "pat_t1.nii.gz")
    monkeypatch.chdir(here / "out")
    invoke("report", ".", "-m", small_model, "-q")
    assert (here / "out" / "pat_t1_report.html").exists()


def test_scores_that_cannot_be_read_are_told(here, small_model, monkeypatch, capsys):
    (here / "out" / "pat_t1_scores.json").write_text("{}")
    code, said = run(monkeypatch, capsys, "report", "out", "-m", small_model)
    assert code == 4
    assert "expected the scores JSON of a scan, found something else" in said.err
