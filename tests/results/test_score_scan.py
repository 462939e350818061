"""One scan: outputs that are whole and fit are taken, all others are made again."""

from collections import Counter

import pytest
from support.commands import rows, run
from support.corpus import GOOD, MASK, raw_scan
from support.marks import full

from vae_loc.results.output_names import folder_names
from vae_loc.results.score_scan import Task, score_task
from vae_loc.scans.cases import find_cases
from vae_loc.scoring.score_options import Files, ScoreOptions
from vae_loc.system import reading
from vae_loc.system.reading import sha256_of


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
        [("anomaly.nii.gz", "damaged"), full("anomaly.png", "cut"), full("anomaly.png", "gone"),
         full("scores.json", "cut"), ("scores.json", "empty")],
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

    def test_other_options_or_another_model_make_them_again(self, scored, small_model, model_file):
        assert scored("-m", small_model, "--raw") == ["done", "done"]
        assert scored("-m", small_model, "--raw") == ["skipped", "skipped"]
        assert scored("-m", model_file, "--raw") == ["done", "done"]

    def test_another_scan_or_mask_of_the_same_name_is_scored(self, scored, tmp_path, healthy_folder):
        (tmp_path / "in" / "b_t1.nii").write_bytes(GOOD[:-1] + bytes([GOOD[-1] ^ 1]))
        assert scored() == ["skipped", "done"]
        (tmp_path / "in" / "a_brainmask.nii").write_bytes(raw_scan(MASK))
        assert scored() == ["done", "skipped"]

    def test_outputs_that_hold_more_than_is_asked_for_are_left_alone(self, scored, small_model):
        model = ["-m", small_model]
        assert scored(*model, "--method", "all", "--percentile", "--report") == ["done", "done"]
        for less in ([], ["--report"], ["--method", "kl-grad", "--percentile"]):
            assert scored(*model, *less) == ["skipped", "skipped"]
        assert scored(*model, "--polarity", "dark") == ["done", "done"]

    def test_each_earlier_file_is_hashed_once_where_more_is_asked_for(self, tmp_path, small_model, monkeypatch, scored):
        (case, *_) = find_cases([tmp_path / "in"])
        names, hashed = folder_names(tmp_path / "out", scans=[case.scan], methods=1), Counter()

        def counted(*paths):
            hashed.update(path for path in paths if path.parent == tmp_path / "out")
            return sha256_of(*paths)

        monkeypatch.setattr(reading, "sha256_of", counted)
        options = ScoreOptions(model=str(small_model), files=Files(percentile=True))
        assert score_task(options, Task(case, names, skip_existing=True)).status == "done"
        assert set(hashed.values()) == {1}

    def test_without_the_option_they_are_made_again(self, scored, tmp_path, small_model, monkeypatch, capsys):
        before = (tmp_path / "out" / "a_t1_scores.json").stat().st_ino
        run(monkeypatch, capsys, "score", tmp_path / "in" / "a_t1.nii", "-o", tmp_path / "out", "-m", small_model)
        assert (tmp_path / "out" / "a_t1_scores.json").stat().st_ino != before


def test_whatever_is_wrong_with_a_scan_is_in_its_entry(tmp_path, small_model):
    (tmp_path / "bad_t1.nii").write_bytes(GOOD[:-1])
    (case,) = find_cases([tmp_path / "bad_t1.nii"])
    where = folder_names(tmp_path / "out", scans=[case.scan], methods=1)
    entry = score_task(ScoreOptions(model=str(small_model)), Task(case, where, skip_existing=False))
    assert (entry.status, entry.exit_code, entry.written) == ("failed", 4, ())
    assert "cut off" in entry.error
