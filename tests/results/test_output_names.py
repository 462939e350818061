"""Where outputs go, and under which names."""

import pytest
from support.commands import invoke, names, rows, run
from support.corpus import GOOD, PACKED


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


def test_output_may_be_a_file_name(tmp_path, model_file, scan):
    invoke("score", scan, "-m", model_file, "-o", tmp_path / "o" / "heat.nii.gz")
    assert names(tmp_path / "o") == {"heat.nii.gz", "heat.png", "heat_scores.json"}


@pytest.fixture
def user_s(tmp_path):
    """Return a file of the user's at a place of the outputs, and what must not change in it."""

    def made(name):
        path = tmp_path / "out" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"precious")
        return path

    return made


@pytest.mark.parametrize(
    "name", ["scan_t1_scores.json", "scan_t1_report.html", "heat.nii.gz", "heat.png", "cohort.csv"]
)
def test_a_file_that_vae_loc_did_not_write_is_never_replaced(
    name, user_s, good, tmp_path, small_model, monkeypatch, capsys
):
    precious = user_s(name)
    output = tmp_path / "out" / ("heat.nii.gz" if name.startswith("heat") else "")
    (tmp_path / "two_t1.nii").write_bytes(GOOD)
    scans = [good, tmp_path / "two_t1.nii"] if name == "cohort.csv" else [good]
    code, said = run(monkeypatch, capsys, "score", *scans, "-m", small_model, "-o", output, "--report")
    assert code == 4
    assert "is there already and vae-loc did not write it" in said.err
    assert precious.read_bytes() == b"precious"
    assert names(tmp_path / "out") == {name}


def test_a_page_of_the_user_s_stays_where_no_page_is_asked_for(user_s, good, tmp_path, small_model):
    precious = user_s("scan_t1_report.html")
    invoke("score", good, "-m", small_model, "-o", tmp_path / "out")
    assert precious.read_bytes() == b"precious"


def test_outputs_of_an_earlier_run_are_replaced(good, tmp_path, small_model):
    for folder, options in (("again", ["--raw"]), ("again", []), ("alone", [])):
        place = tmp_path / folder / "heat.nii.gz"
        invoke("score", good, "-m", small_model, "-o", place, "--report", *options)
    again, alone = (
        {path.name: path.read_bytes() for path in (tmp_path / folder).iterdir()} for folder in ("again", "alone")
    )
    assert again == alone
    assert again.keys() == {"heat.nii.gz", "heat.png", "heat_report.html", "heat_scores.json"}


def test_a_scan_that_is_named_like_an_output_of_another_is_not_replaced(
    good, tmp_path, small_model, monkeypatch, capsys
):
    other = tmp_path / "scan_t1_desc-combi_anomaly.nii.gz"
    other.write_bytes(PACKED)
    code, said = run(monkeypatch, capsys, "score", good, other, "-m", small_model, "-o", tmp_path)
    assert code == 4
    assert "expected an output that is no input" in said.err
    assert other.read_bytes() == PACKED
    assert names(tmp_path) == {"scan_t1.nii", other.name}
