"""Where outputs go, and under which names."""

from support.commands import invoke, names, rows, run
from support.corpus import GOOD


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
