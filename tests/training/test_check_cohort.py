"""A cohort is tried before the first epoch, and split by person."""

import json
import shutil

import nibabel as nib
import numpy as np
import pytest
from support.commands import TINY, names, run
from support.corpus import GOOD, INSIDE, RANDOM, raw_scan

from vae_loc.errors import UnusableInput
from vae_loc.preprocessing.canonical import smooth_brain, to_canonical
from vae_loc.preprocessing.open_scan import open_scan
from vae_loc.scans.cases import find_cases, split_subjects
from vae_loc.system.array_store import ArrayStore
from vae_loc.training.check_cohort import HealthyCohort, check_cohort


@pytest.fixture
def checked():
    """Check a cohort for slices of 32 pixels."""
    with ArrayStore() as store:
        yield lambda cases, **options: check_cohort(
            HealthyCohort(cases, **options), image_size=32, store=store, advance=lambda _: None
        )


def test_all_bad_scans_are_named_at_once_before_the_first_epoch(cohort, tmp_path, monkeypatch, capsys):
    (cohort / "bad1_t1.nii.gz").write_bytes(RANDOM)
    (cohort / "bad2_t1.nii").write_bytes(GOOD[:-1])
    (cohort / "bad3_t1.nii").mkdir()
    (cohort / "bad4_t1.nii").symlink_to("nowhere")
    (cohort / "sub0_brainmask.nii").write_bytes(b"")
    code, said = run(monkeypatch, capsys, "train", cohort, "-o", tmp_path / "new" / "m.safetensors", *TINY)
    assert code == 4
    assert said.err.count("\n") == 1
    for name in ("bad1_t1.nii.gz", "bad2_t1.nii", "bad3_t1.nii", "bad4_t1.nii", "sub0_brainmask.nii", "--skip-bad"):
        assert name in said.err
    assert not (tmp_path / "new").exists()


def test_skip_bad_goes_on_and_lists_them(cohort, tmp_path, monkeypatch, capsys):
    (cohort / "bad1_t1.nii.gz").write_bytes(RANDOM)
    (cohort / "._bad2_t1.nii.gz").write_bytes(RANDOM)
    (cohort / "loop").symlink_to(cohort)
    loud = [option for option in TINY if option != "--quiet"]
    options = ["-o", tmp_path / "m.safetensors", "--skip-bad", "--epochs", "1", *loud]
    code, said = run(monkeypatch, capsys, "train", cohort, *options)
    assert code == 0
    assert "left out" in said.err
    record = json.loads((tmp_path / "m.training.json").read_text())
    assert len(record["skipped"]) == 1
    assert "bad1_t1.nii.gz" in record["skipped"][0]
    assert names(tmp_path) == {"healthy", "m.safetensors", "m.training.json"}


def test_the_same_scan_never_lies_on_both_sides(tmp_path, checked):
    for number in range(8):
        content = np.asarray(nib.Nifti1Image.from_bytes(GOOD).dataobj) + number
        (tmp_path / f"s{number}_t1.nii").write_bytes(raw_scan(content.astype(np.float32)))
    shutil.copy(tmp_path / "s0_t1.nii", tmp_path / "copy_t1.nii")
    nib.save(nib.load(tmp_path / "s1_t1.nii"), tmp_path / "packed_t1.nii.gz")
    wide = raw_scan(np.asarray(nib.load(tmp_path / "s2_t1.nii").dataobj).astype(np.float64))
    (tmp_path / "wide_t1.nii").write_bytes(wide)
    cases = checked(find_cases([tmp_path])).cases
    twins = ({"s0_t1.nii", "copy_t1.nii"}, {"s1_t1.nii", "packed_t1.nii.gz"}, {"s2_t1.nii", "wide_t1.nii"})
    for seed in range(40):
        for side in split_subjects(cases, holdout=0.3, seed=seed):
            here = {case.scan.name for case in side}
            assert all(len(pair & here) in (0, 2) for pair in twins)


def test_sessions_of_one_person_never_lie_on_both_sides(tmp_path, checked):
    scans = [tmp_path / f"sub-{n:02}_ses-{s}_T1w.nii" for n in range(6) for s in range(3)]
    for index, scan in enumerate(scans):
        scan.write_bytes(raw_scan((np.asarray(nib.Nifti1Image.from_bytes(GOOD).dataobj) + index).astype(np.float32)))
    cases = checked(find_cases([tmp_path])).cases
    for seed in range(20):
        sides = split_subjects(cases, holdout=0.4, seed=seed)
        people = [{case.scan.name[:6] for case in side} for side in sides]
        assert not people[0] & people[1]


def test_subjects_that_share_a_scan_become_one_also_through_a_third(tmp_path, checked):
    """a and b share one scan, b and c another one."""
    voxels = np.asarray(nib.Nifti1Image.from_bytes(GOOD).dataobj)
    for name, number in (("a_1", 1), ("b_1", 1), ("b_2", 2), ("c_2", 2)):
        (tmp_path / f"{name}.nii").write_bytes(raw_scan((voxels + number).astype(np.float32)))
    found = checked(find_cases([tmp_path]))
    assert {case.subject for case in found.cases} == {"a"}
    assert len(found.cases) == 4
    with pytest.raises(UnusableInput, match="at least 2 subjects"):
        split_subjects(found.cases, holdout=0.5, seed=0)


def test_a_scan_of_a_cohort_is_prepared_as_it_is_alone(healthy_folder, checked):
    cases = find_cases([healthy_folder])
    found = checked(cases)
    assert list(found.scans) == [case.scan for case in cases]
    assert found.skipped == []
    alone = open_scan(cases[0])
    kept = found.scans[cases[0].scan]
    assert np.array_equal(kept.brain, alone.brain)
    expected = to_canonical(smooth_brain(alone.volume, alone.brain, image_size=32))
    assert np.array_equal(to_canonical(kept.smooth).data, expected.data)


def test_a_brain_of_one_intensity_is_named_with_the_others(tmp_path, checked):
    (tmp_path / "good_t1.nii").write_bytes(GOOD)
    (tmp_path / "cut_t1.nii").write_bytes(GOOD[:-1])
    flat = np.where(INSIDE, np.float32(7), 0)
    flat[0, 0, 0] = 3  # else it would be taken for a mask
    (tmp_path / "flat_t1.nii").write_bytes(raw_scan(flat.astype(np.float32)))
    with pytest.raises(UnusableInput, match=r"2 of 3 scans cannot be used.*cut_t1.*flat_t1") as refused:
        checked(find_cases([tmp_path]), brain_mask="auto")
    assert "good_t1" not in str(refused.value)
    found = checked(find_cases([tmp_path]), skip_bad=True)
    assert [case.scan.name for case in found.cases] == ["good_t1.nii"]
    assert len(found.skipped) == 2
