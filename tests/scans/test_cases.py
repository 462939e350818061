"""Folders, lists, tables and BIDS datasets become cases; subjects never cross a split."""

import shutil
from pathlib import Path

import pytest
from support.corpus import GOOD
from support.phantoms import AFFINE, SHAPE, phantom, save

from vae_loc.errors import UnusableInput
from vae_loc.results.score_bids import bids_cases
from vae_loc.scans.cases import Case, find_cases, shard_of, split_subjects


def test_a_table_names_scan_mask_subject_and_contrast(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "c_brainmask.nii.gz").touch()
    (tmp_path / "list.csv").write_text(
        "age,scan,mask,subject,contrast\n41,deep/a_t1.nii,m.nii,Ann,FLAIR\n,deep/c_t1.nii,,,\n50,deep/d.nii\n"
    )
    first, second, third = find_cases([tmp_path / "list.csv"])
    assert (first.scan, first.brain_mask) == (tmp_path / "deep/a_t1.nii", tmp_path / "m.nii")
    assert (first.subject, first.contrast) == ("Ann", "flair")
    assert (second.subject, second.contrast) == ("c", None)
    assert second.brain_mask == tmp_path / "deep" / "c_brainmask.nii.gz"
    assert (third.subject, third.brain_mask) == ("d", None)
    assert len(find_cases([tmp_path / "list.csv"], contrast="t1")) == 2


@pytest.mark.parametrize(
    ("content", "words"),
    [("file,mask\na,b\n", "no scan"), ("scan,mask\n,b\n", "in every row"), ("scan\n", "in every row")],
)
def test_a_table_without_scans_is_refused(content, words, tmp_path):
    (tmp_path / "list.csv").write_text(content)
    with pytest.raises(UnusableInput, match=words):
        find_cases([tmp_path / "list.csv"])


@pytest.mark.parametrize("parts", [1, 2, 3, 7])
def test_shards_are_all_scans_once(mixed_folder, parts):
    cases = find_cases([mixed_folder])
    shards = [shard_of(cases, part, parts) for part in range(1, parts + 1)]
    assert sorted(case.scan for shard in shards for case in shard) == [case.scan for case in cases]


def test_a_folder_of_folders_by_subject_has_as_many_subjects(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "T1w.nii").write_bytes(GOOD)
    assert {case.subject for case in find_cases([tmp_path / "a", tmp_path / "b"])} == {"a", "b"}


def test_subjects_never_cross_the_split(tmp_path):
    cases = [Case(tmp_path / f"s{i % 10}_{i}.nii", f"s{i % 10}", None) for i in range(30)]
    training, held_out = split_subjects(cases, holdout=0.2, seed=0)
    assert not {c.subject for c in training} & {c.subject for c in held_out}
    assert len({c.subject for c in held_out}) == 2
    assert split_subjects(cases[::-1], holdout=0.2, seed=0) == (training, held_out)


def test_maps_of_an_earlier_run_in_the_same_folder_are_no_scans(tmp_path):
    for name in ("a_t1", *(f"a_t1_desc-combi_{kind}" for kind in ("anomaly", "percentile", "mask", "dseg"))):
        save(tmp_path / f"{name}.nii.gz", phantom(AFFINE, SHAPE)[0], AFFINE)
    assert [case.scan.name for case in find_cases([tmp_path])] == ["a_t1.nii.gz"]


def test_a_folder_of_folders_says_that_they_are_not_searched(tmp_path):
    (tmp_path / "sub-01").mkdir()
    with pytest.raises(UnusableInput, match="subfolders are not searched"):
        find_cases([tmp_path])


@pytest.mark.parametrize("last", ["brainmask", "mask", "seg", "lesions", "labels", "probseg", "dseg"])
def test_masks_and_labels_are_no_scans(tmp_path, last):
    for name in ("a_t1", f"a_{last}", f"a_{last}_t1"):
        (tmp_path / f"{name}.nii.gz").touch()
    assert [case.scan.name for case in find_cases([tmp_path])] == [f"a_{last}_t1.nii.gz", "a_t1.nii.gz"]


def test_scans_are_found_by_participant_session_and_contrast(bids_dataset):
    def names(**options):
        return [case.scan.name for case in bids_cases(bids_dataset, **{"contrast": "t1"} | options)]

    assert len(names(contrast=None)) == 4
    assert names(contrast="flair") == ["sub-01_FLAIR.nii"]
    assert names(participants=["02"], sessions=["ses-2"]) == ["sub-02_ses-2_T1w.nii"]
    assert names(participants=["sub-01"]) == ["sub-01_T1w.nii"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"participants": ["03"]}, "sub-03, found none"),
        ({"contrast": "t2"}, "found no T2w"),
        ({"sessions": ["9"]}, "found no"),
    ],
)
def test_what_a_dataset_does_not_have_is_named(bids_dataset, options, words):
    with pytest.raises(UnusableInput, match=words):
        bids_cases(bids_dataset, **{"contrast": "t1"} | options)


@pytest.mark.parametrize(
    ("pattern", "ignored"),
    [("*_T1w.nii", 3), ("sub-01/", 2), ("/sub-01/anat/*.nii", 2), ("anat/*_T1w.nii", 0), ("**/*_FLAIR.nii", 1),
     ("sub-02/**", 2), ("#*_T1w.nii", 0), ("/*_T1w.nii", 0)],
)  # fmt: skip
def test_what_bidsignore_names_is_left_out(bids_dataset, tmp_path, caplog, pattern, ignored):
    raw = Path(shutil.copytree(bids_dataset, tmp_path / "raw"))
    (raw / ".bidsignore").write_text(pattern)
    assert len(bids_cases(raw, contrast=None)) == 4 - ignored
    assert (f"{ignored} files are in .bidsignore: left out" in caplog.text) == bool(ignored)


def test_lists_and_tables_may_have_quotes_and_backslashes(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a_t1.nii").touch()
    for name, text in (
        ("l.txt", '"in/a_t1.nii"\n'),
        ("t.csv", "scan\r\nin\\a_t1.nii\r\n"),
        ("t.tsv", "Scan\nin/a_t1.nii"),
    ):
        (tmp_path / name).write_text(text)
        assert [case.scan for case in find_cases([tmp_path / name])] == [tmp_path / "in" / "a_t1.nii"]


def test_dicom_below_a_folder_of_scans_is_named(tmp_path, caplog):
    (tmp_path / "a_t1.nii").touch()
    for folder in ("dicom", "notes"):
        (tmp_path / folder / "1").mkdir(parents=True)
    (tmp_path / "dicom" / "1" / "IM1").write_bytes(bytes(128) + b"DICM")
    assert len(find_cases([tmp_path])) == 1
    assert "1 subfolders hold DICOM files: left out; name them to score them: dicom" in caplog.text
