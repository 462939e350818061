"""At the end of a run a person reads what was found, in as few lines as there are scans; scripts read the paths."""

import json
from pathlib import Path

import pytest
from support.commands import run
from support.marks import full
from support.phantoms import AFFINE, BALL, SHAPE, phantom, save


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    """A patient with a bright ball, a healthy person, and a scan that is damaged."""
    folder = tmp_path_factory.mktemp("scans")
    save(folder / "ann_t1.nii.gz", phantom(AFFINE, SHAPE, ball=BALL, radius_mm=16, gain=2.5)[0], AFFINE)
    save(folder / "bob_t1.nii.gz", phantom(AFFINE, SHAPE, seed=0.2)[0], AFFINE)
    whole = (folder / "bob_t1.nii.gz").read_bytes()
    (folder / "eve [bold]_t1.nii.gz").write_bytes(whole[: len(whole) // 2])
    return folder


def row_of(said, name):
    return next(line.split() for line in said.splitlines() if line.strip().startswith(name))


@pytest.mark.parametrize("jobs", ["1", full("2")])
def test_the_table_says_what_the_scores_say(scans, tmp_path, small_model, monkeypatch, capsys, jobs):
    arguments = ["segment", scans, "-m", small_model, "-o", tmp_path, "--threshold", "3", "--jobs", jobs]
    code, said = run(monkeypatch, capsys, *arguments)
    assert code == 3
    summary = json.loads((tmp_path / "ann_t1_scores.json").read_text())
    first = summary["masks"]["combi"]["findings"][0]
    row = row_of(said.err, "ann_t1.nii.gz")
    assert int(row[1]) == len(summary["masks"]["combi"]["findings"])
    assert row[2:6] == ["about", f"{first['volume_ml']:.2g}", "ml,", f"{first['sign']},"]
    assert row[-1] == str(len(summary["warnings"]) or "-")
    assert "failed: see above" in " ".join(row_of(said.err, "eve [bold]_t1.nii.gz"))
    assert said.err.splitlines()[-1] == (f"2 done, 1 failed: eve [bold]_t1.nii.gz; open {tmp_path / 'cohort.csv'}")
    assert {path.split("_")[-1] for path in said.out.split()} >= {"anomaly.nii.gz", "scores.json"}
    assert all(Path(line).is_file() for line in said.out.splitlines())


def test_one_scan_gets_a_sentence_and_its_page_is_named(scans, tmp_path, small_model, monkeypatch, capsys):
    arguments = ["segment", scans / "ann_t1.nii.gz", "-m", small_model, "-o", tmp_path, "--threshold", "3", "--report"]
    code, said = run(monkeypatch, capsys, *arguments)
    assert code == 0
    assert " than expected, " in said.err
    assert said.err.splitlines()[-1] == f"1 done; open {tmp_path / 'ann_t1_report.html'}"


def test_scores_without_masks_say_how_much_is_unusual(scans, tmp_path, small_model, monkeypatch, capsys):
    _, said = run(monkeypatch, capsys, "score", scans, "-m", small_model, "-o", tmp_path, "--json")
    flagged = json.loads((tmp_path / "bob_t1_scores.json").read_text())["maps"]["combi"]["flagged"]
    assert row_of(said.err, "bob_t1.nii.gz")[1:3] == [f"{100 * flagged:.1f}", "%"]
    assert json.loads(said.out)["table"] == str(tmp_path / "cohort.csv")


@pytest.mark.parametrize("jobs", [full("1"), "2"])
def test_quiet_leaves_errors_alone(scans, tmp_path, small_model, monkeypatch, capsys, jobs):
    arguments = ["segment", scans, "-m", small_model, "-o", tmp_path, "--quiet", "--jobs", jobs, "--report"]
    _, said = run(monkeypatch, capsys, *arguments)
    assert said.out == ""
    assert [line.split(":")[0] for line in said.err.splitlines()] == ["vae-loc"]


def test_of_many_scans_the_failed_and_the_strongest_are_shown(scans, tmp_path, small_model, monkeypatch, capsys):
    monkeypatch.setattr("vae_loc.cli.tables.scan_table.MAX_ROWS", 2)
    _, said = run(monkeypatch, capsys, "segment", scans, "-m", small_model, "-o", tmp_path, "--threshold", "3")
    assert row_of(said.err, "ann_t1.nii.gz")
    assert row_of(said.err, "eve")
    assert "bob_t1" not in said.err
    assert "2 of 3 scans: failed ones, then those with the strongest findings" in said.err
