"""A BIDS dataset, by participant and then by group."""

import shutil

import pytest
from support.commands import rows, run


def test_the_group_has_a_row_for_every_scan(derivatives, bids_dataset, tmp_path, monkeypatch, capsys):
    table = rows(derivatives / "cohort.csv")
    assert [(row["subject"], row["status"]) for row in table] == [("sub-01", "done")] * 2 + [("sub-02", "done")] * 2
    assert all(float(row["elbo"]) for row in table)
    copy = shutil.copytree(bids_dataset, tmp_path / "raw")
    (copy / "participants.tsv").write_text("participant_id\tage\tgroup\nsub-02\t41\tpatient\n")
    place = copy / derivatives.relative_to(bids_dataset)
    mask = next(place.glob("sub-02/ses-2/anat/*label-anomaly_mask.nii.gz"))
    mask.write_bytes(mask.read_bytes()[:-1])
    assert run(monkeypatch, capsys, "bids", copy, place, "group")[0] == 3
    table = rows(place / "cohort.csv")
    assert [row["status"] for row in table] == ["done", "done", "done", "failed"]
    # the columns of participants.tsv come along
    assert [(row["age"], row["group"]) for row in table] == [("", "")] * 2 + [("41", "patient")] * 2
    people = (place / "people.tsv").read_text().splitlines()
    assert [line.split("\t")[:5] for line in people[1:]] == [
        ["sub-01", "n/a", "combi", "n/a", "n/a"],
        ["sub-02", "1", "combi", "41", "patient"],
        ["sub-02", "2", "n/a", "41", "patient"],
    ]


def test_a_scan_that_cannot_be_used_is_a_row_though_none_of_its_contrast_was_scored(
    derivatives, bids_dataset, tmp_path, monkeypatch, capsys
):
    copy = shutil.copytree(bids_dataset, tmp_path / "raw")
    (copy / "sub-01" / "anat" / "sub-01_T2w.nii.gz").write_text("/annex/objects/MD5E-s2950569--c0ffee.nii.gz\n")
    place = copy / derivatives.relative_to(bids_dataset)
    assert run(monkeypatch, capsys, "bids", copy, place, "group")[0] == 3
    failed = [row for row in rows(place / "cohort.csv") if row["status"] == "failed"]
    assert [row["scan"].rpartition("/")[2] for row in failed] == ["sub-01_T2w.nii.gz"]


def test_participants_are_named_as_bids_apps_name_them(bids_dataset, tmp_path, small_model, monkeypatch, capsys):
    arguments = ["bids", bids_dataset, tmp_path, "participant", "-m", small_model, "--quiet"]
    assert run(monkeypatch, capsys, *arguments, "--participant_label", "01", "sub-02", "--session-label", "2")[0] == 0
    assert [path.name for path in tmp_path.glob("sub-*")] == ["sub-02"]
    assert run(monkeypatch, capsys, *arguments, "--participant-label", "01", "02")[0] == 0
    assert {path.name for path in tmp_path.glob("sub-*")} == {"sub-01", "sub-02"}
    made = {path: path.stat().st_mtime_ns for path in tmp_path.glob("sub-*/**/*_scores.json")}
    assert len(made) == 3
    assert run(monkeypatch, capsys, *arguments, "--skip-existing")[0] == 0
    assert {path: path.stat().st_mtime_ns for path in made} == made


def test_a_folder_that_is_no_dataset_is_refused(tmp_path, monkeypatch, capsys):
    code, said = run(monkeypatch, capsys, "bids", tmp_path, tmp_path / "out", "participant")
    assert code == 4
    assert "dataset_description.json: found none" in said.err
    code, said = run(monkeypatch, capsys, "bids", tmp_path, tmp_path / "out", "participant", "01")
    assert code == 2
    assert not (tmp_path / "out").exists()


@pytest.mark.full
def test_all_contrasts_of_a_dataset_are_scored_unless_one_is_asked_for(bids_dataset, tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("VAE_LOC_MODEL", raising=False)
    arguments = ["bids", bids_dataset, tmp_path, "participant", "--participant-label", "01", "--quiet", "--force"]
    assert run(monkeypatch, capsys, *arguments)[0] == 0
    made = {path.name for path in tmp_path.glob("**/*_scores.json") if "person" not in path.name}
    assert made == {"sub-01_desc-anomaly_scores.json", "sub-01_desc-FLAIRanomaly_scores.json"}


def test_a_named_model_takes_the_scans_of_its_contrast_and_the_group_lists_what_was_scored(
    bids_dataset, tmp_path, small_model, monkeypatch, capsys
):
    assert run(monkeypatch, capsys, "bids", bids_dataset, tmp_path, "participant", "-m", small_model, "-q")[0] == 0
    assert not list(tmp_path.glob("**/*FLAIR*"))
    assert run(monkeypatch, capsys, "bids", bids_dataset, tmp_path, "group", "-q")[0] == 0
    assert [row["contrast"] for row in rows(tmp_path / "cohort.csv")] == ["t1"] * 3
