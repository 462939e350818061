"""Pages and findings of stored results are those that scoring writes, file by file."""

import json
import shutil

import pytest
from support.commands import invoke, names, rows, run
from support.phantoms import AFFINE, BALL, SHAPE, phantom, save

TIMES = {"seconds", "status"}  # of a row: what a run says of itself
LEVELS = {
    "stored": [],
    "share": ["--fpr", "0.01"],
    "threshold below 0": ["--threshold", "-1"],
    "false findings": ["--false-findings", "1", "--min-size", "500mm3"],
}


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    """Ann's T1 and FLAIR with a bright ball, and Bob's T1 with a brain mask beside it."""
    folder = tmp_path_factory.mktemp("scans")
    save(folder / "ann_t1.nii.gz", phantom(AFFINE, SHAPE, ball=BALL, radius_mm=16, gain=2.5)[0], AFFINE)
    save(folder / "ann_flair.nii.gz", phantom(AFFINE, SHAPE, ball=BALL, radius_mm=14, gain=2.0, seed=0.2)[0], AFFINE)
    data, inside = phantom(AFFINE, SHAPE, seed=0.3)
    save(folder / "bob_t1.nii.gz", data, AFFINE)
    save(folder / "bob_brainmask.nii.gz", inside.astype("uint8"), AFFINE)
    return folder


@pytest.fixture(scope="module")
def segmented(scans, model_file, tmp_path_factory):
    """The outputs of all without pages; copy before you change them."""
    out = tmp_path_factory.mktemp("segmented") / "out"
    invoke("segment", scans, "-m", model_file, "-o", out, "-q", "--jobs", "1")
    return out


@pytest.fixture
def out(segmented, tmp_path):
    return shutil.copytree(segmented, tmp_path / "out")


@pytest.fixture(scope="module")
def bob_segmented(scans, small_model, tmp_path_factory):
    """The outputs of Bob alone; copy before you change them."""
    out = tmp_path_factory.mktemp("bob") / "out"
    invoke("segment", scans / "bob_t1.nii.gz", "-m", small_model, "-o", out, "-q")
    return out


@pytest.fixture
def bob(bob_segmented, tmp_path):
    return shutil.copytree(bob_segmented, tmp_path / "out")


def contents(folder):
    """Return the bytes of all files but the cohort's."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if not path.name.startswith("cohort")}


def table(folder):
    """Return the rows of the cohort table without the times."""
    return [{name: cell for name, cell in row.items() if name not in TIMES} for row in rows(folder / "cohort.csv")]


@pytest.mark.parametrize("level", LEVELS)
def test_every_file_is_the_one_that_segment_writes_with_the_same_options(out, scans, model_file, tmp_path, level):
    invoke("report", out, "-m", model_file, "-q", *LEVELS[level])
    options = ["-m", model_file, "-o", tmp_path / "anew", "-q", "--jobs", "1", "--report", *LEVELS[level]]
    invoke("segment", scans, *options)
    files, expected = contents(out), contents(tmp_path / "anew")
    assert files.keys() == expected.keys()
    assert [name for name in files if files[name] != expected[name]] == []
    assert table(out) == table(tmp_path / "anew")
    assert {row["combi_findings"] for row in table(out)} != {"0"}
    assert "bob_t1_report.html" in (out / "cohort.html").read_text()


@pytest.mark.parametrize("options", [["--method", "all", "--polarity", "bright"], ["--raw"], ["--method", "place-z"]])
def test_findings_are_made_of_what_score_stored(scans, model_file, tmp_path, options):
    scan = scans / "ann_t1.nii.gz"
    invoke("score", scan, "-m", model_file, "-o", tmp_path / "out", "-q", *options)
    invoke("report", tmp_path / "out", "-m", model_file, "-q", "--fpr", "0.02")
    invoke("segment", scan, "-m", model_file, "-o", tmp_path / "anew", "-q", "--report", "--fpr", "0.02", *options)
    assert contents(tmp_path / "out") == contents(tmp_path / "anew")


def test_a_level_keeps_what_it_does_not_name(bob, small_model):
    invoke("report", bob, "-m", small_model, "-q", "--false-findings", "1", "--min-size", "500mm3")
    invoke("report", bob, "-m", small_model, "-q", "--min-size", "200mm3")
    mask = json.loads((bob / "bob_t1_scores.json").read_text())["masks"]["combi"]
    assert (mask["false_findings"], mask["min_size_mm3"]) == (1.0, 200.0)


def test_a_scan_that_is_gone_or_changed_is_named_and_the_others_go_on(
    scans, small_model, tmp_path, monkeypatch, capsys
):
    moved, out = shutil.copytree(scans, tmp_path / "in"), tmp_path / "out"
    invoke("segment", moved, "-m", small_model, "-o", out, "-q", "--jobs", "1", "--no-persons")
    (moved / "ann_flair.nii.gz").unlink()
    save(moved / "ann_t1.nii.gz", phantom(AFFINE, SHAPE)[0], AFFINE)
    before = rows(out / "cohort.csv")
    code, said = run(monkeypatch, capsys, "report", out, "-m", small_model, "--fpr", "0.01")
    assert code == 3
    gone, changed = (line for line in said.err.splitlines() if line.startswith("vae-loc: "))
    assert "1 done, 2 failed: " in said.err.splitlines()[-1]
    assert "ann_flair.nii.gz: expected the scan of ann_flair_scores.json, found none" in gone
    assert "ann_t1.nii.gz: has changed since ann_t1_scores.json was written" in changed
    assert {name for name in names(out) if name.endswith("_report.html")} == {"bob_t1_report.html"}
    after = {row["subject"] + row["contrast"]: row for row in rows(out / "cohort.csv")}
    assert [row for row in before if row["subject"] == "ann"] == [row for row in rows(out / "cohort.csv")][:2]
    assert after["bobt1"]["combi_threshold"] != before[2]["combi_threshold"]


@pytest.mark.parametrize("kind", ["anomaly.nii.gz", "signed.nii.gz", "dseg.nii.gz"])
def test_a_stored_file_that_was_changed_is_named_and_nothing_is_written(bob, small_model, monkeypatch, capsys, kind):
    (bob / f"bob_t1_desc-combi_{kind}").write_bytes(b"other")
    before = {path.name: path.read_bytes() for path in bob.glob("bob_*")}
    code, said = run(monkeypatch, capsys, "report", bob, "-m", small_model, "-q")
    assert code == 4
    assert f"bob_t1_desc-combi_{kind}: expected what was written with bob_t1_scores.json" in said.err
    assert {path.name: path.read_bytes() for path in bob.glob("bob_*")} == before


def test_a_brain_mask_that_was_changed_is_told(scans, small_model, tmp_path, monkeypatch, capsys):
    moved, out = shutil.copytree(scans, tmp_path / "in"), tmp_path / "out"
    invoke("segment", moved / "bob_t1.nii.gz", "-m", small_model, "-o", out, "-q")
    (moved / "bob_brainmask.nii.gz").unlink()
    code, said = run(monkeypatch, capsys, "report", out, "-m", small_model, "-q")
    assert code == 4
    assert "expected the brain mask that was used, found none or another" in said.err


def test_results_of_a_version_without_signed_maps_are_refused(bob, small_model, monkeypatch, capsys):
    scores = bob / "bob_t1_scores.json"
    content = json.loads(scores.read_text())
    del content["files"]["bob_t1_desc-combi_signed.nii.gz"]
    scores.write_text(json.dumps(content, indent=1))
    code, said = run(monkeypatch, capsys, "report", bob, "-m", small_model, "-q")
    assert code == 4
    assert "expected the signed map, which earlier versions did not store; segment again" in said.err


def test_a_model_that_is_not_shipped_must_be_named(bob, monkeypatch, capsys):
    monkeypatch.delenv("VAE_LOC_MODEL", raising=False)
    code, said = run(monkeypatch, capsys, "report", bob, "-q")
    assert code == 5
    assert "name its file with --model" in said.err


def test_one_map_with_a_name_of_its_own_has_its_page_beside_it(scans, small_model, tmp_path):
    scan = scans / "ann_t1.nii.gz"
    invoke("segment", scan, "-m", small_model, "-o", tmp_path / "out" / "heat.nii.gz", "-q")
    invoke("report", tmp_path / "out", "-m", small_model, "-q", "--fpr", "0.01")
    invoke("segment", scan, "-m", small_model, "-o", tmp_path / "a" / "heat.nii.gz", "-q", "--report", "--fpr", "0.01")
    assert contents(tmp_path / "out") == contents(tmp_path / "a")


def test_a_page_of_someone_else_is_not_replaced(bob, small_model, monkeypatch, capsys):
    (bob / "bob_t1_report.html").write_text("mine")
    code, said = run(monkeypatch, capsys, "report", bob, "-m", small_model, "-q")
    assert (code, (bob / "bob_t1_report.html").read_text()) == (4, "mine")
    assert "vae-loc did not write it" in said.err


def test_a_dicom_segmentation_of_the_old_findings_is_removed(bob, small_model, monkeypatch, capsys):
    dicom = bob / "bob_t1_desc-combi_dseg.dcm"
    dicom.write_bytes(b"")
    run(monkeypatch, capsys, "report", bob, "-m", small_model)
    assert dicom.exists()
    said = run(monkeypatch, capsys, "report", bob, "-m", small_model, "--fpr", "0.01")[1]
    assert not dicom.exists()
    assert "bob_t1_desc-combi_dseg.dcm: was of the findings that are replaced" in said.err


@pytest.mark.parametrize("what", ["nothing", "empty", "dataset"])
def test_a_folder_without_results_is_refused(tmp_path, monkeypatch, capsys, what):
    folder = tmp_path / "out"
    if what != "nothing":
        folder.mkdir()
    if what == "dataset":
        (folder / "dataset_description.json").write_text("{}")
    code, said = run(monkeypatch, capsys, "report", folder)
    assert code == 4
    assert said.err.count("\n") == 1


def test_what_a_killed_run_left_is_removed(bob, small_model):
    (bob / ".vae-loc-0123456789abcdef.tmp").write_bytes(b"half")
    invoke("report", bob, "-m", small_model, "-q")
    assert not [name for name in names(bob) if name.endswith(".tmp")]
