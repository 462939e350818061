"""Scans of a cohort by contrast."""

from support.corpus import GOOD

from benchmarks.cohorts import cases_in, site_cases


def test_a_folder_gives_the_scans_of_one_contrast_in_order(tmp_path):
    folder = tmp_path / "ds011"
    folder.mkdir()
    for name in ("b_t2", "a_t2", "a_t1"):
        (folder / f"{name}.nii.gz").write_bytes(GOOD)
    assert [case.subject for case in cases_in(folder, "t2")] == ["a", "b"]
    assert site_cases("t2", tmp_path) == cases_in(folder, "t2")
    assert site_cases("flair", tmp_path) == []
