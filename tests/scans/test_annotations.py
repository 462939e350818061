"""Scans and their annotations."""

import shutil

import pytest

from vae_loc.errors import UnusableInput, UnusableOption
from vae_loc.scans.annotations import find_labelled


def test_labels_may_come_as_a_table(patients, tmp_path):
    table = tmp_path / "pairs.csv"
    rows = "".join(f"{patients}/p{i}_t1.nii.gz,{patients}/p{i}_seg.nii.gz\n" for i in (2, 1))
    table.write_text("scan,label\n" + rows)
    expected = find_labelled([patients / "p1_t1.nii.gz", patients / "p2_t1.nii.gz"], "{subject}_seg.nii.gz")
    assert find_labelled([table], None) == expected
    assert find_labelled([], str(table)) == expected
    assert find_labelled([patients / "p1_t1.nii.gz"], str(table)) == expected[:1]


def test_a_missing_annotation_pattern_or_file_is_named(patients):
    with pytest.raises(UnusableOption, match="subject"):
        find_labelled([patients], None)
    with pytest.raises(UnusableInput, match="p0_lesion"):
        find_labelled([patients], "{subject}_lesion.nii.gz")


def test_one_scan_may_have_its_annotation_named(patients, tmp_path, monkeypatch):
    scan = patients / "p1_t1.nii.gz"
    expected = find_labelled([scan], "{subject}_seg.nii.gz")
    assert find_labelled([scan], str(patients / "p1_seg.nii.gz")) == expected
    assert find_labelled([scan], "p1_seg.nii.gz") == expected
    shutil.copy(patients / "p1_seg.nii.gz", tmp_path / "here.nii.gz")
    monkeypatch.chdir(tmp_path)
    assert find_labelled([scan], "here.nii.gz")[0].label == tmp_path / "here.nii.gz"


def test_one_annotation_is_not_taken_for_several_scans(patients):
    with pytest.raises(UnusableOption, match=r"for 6 scans; got .*p1_seg"):
        find_labelled([patients], str(patients / "p1_seg.nii.gz"))
