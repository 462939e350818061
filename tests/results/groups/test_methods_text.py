"""The paragraph for a methods section states what was run: numbers, models, masks and rules of the results."""

import json

import pytest
from support.commands import invoke, run

from vae_loc.results.groups.methods_text import methods_text


@pytest.fixture
def results(mixed_folder, tmp_path, small_model):
    invoke("segment", mixed_folder, "-m", small_model, "-o", tmp_path / "out", "--threshold", "2", code=3)
    return tmp_path / "out"


def test_the_paragraph_has_the_numbers_of_the_results(results):
    text = methods_text(results)
    summary = json.loads((results / "sub0_t1_scores.json").read_text())
    assert text.startswith("3 brain MRI scans (3 T1) of 3 people were searched for anomalies with vae-loc ")
    assert "1 further scan could not be used." in text
    assert "Brain masks were the outlines of skull-stripped scans (3)." in text
    assert f"(SHA-256 {summary['model']['sha256'][:12]})" in text
    assert "On T1, combi marked voxels above 2 (" in text
    assert "Findings smaller than 100 mm³ were left out." in text
    assert "deepbet" not in text
    assert "arXiv:1907.02796" in text
    assert "&" not in text


def test_the_command_prints_the_paragraph_of_a_folder_and_of_its_table(results, monkeypatch, capsys):
    for place in (results, results / "cohort.csv"):
        code, said = run(monkeypatch, capsys, "info", "--boilerplate", place)
        assert code == 0
        assert said.out == methods_text(results).rstrip("\n") + "\n"


def test_a_scan_alone_has_a_paragraph_too(results):
    (results / "cohort.csv").unlink()
    for name in ("sub1", "sub2"):
        (results / f"{name}_t1_scores.json").unlink()
    assert methods_text(results).startswith("1 brain MRI scan (1 T1) of 1 person was searched")


def test_a_folder_without_results_is_one_line(tmp_path, monkeypatch, capsys):
    code, said = run(monkeypatch, capsys, "info", "--boilerplate", tmp_path)
    assert code == 4
    assert "expected cohort.csv or scores of scans, found none; name a folder of results" in said.err
