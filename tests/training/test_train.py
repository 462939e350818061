"""A cohort becomes a model: tried before the first epoch, split by person, each scan read once."""

import json
import shutil

import nibabel as nib
import numpy as np
import pytest
from support.commands import TINY, invoke, names, run
from support.corpus import GOOD, INSIDE, RANDOM, raw_scan
from support.phantoms import save

from vae_loc.errors import UnusableInput
from vae_loc.model.checkpoint import load_checkpoint
from vae_loc.preprocessing.canonical import smooth_brain, to_canonical
from vae_loc.preprocessing.open_scan import open_scan
from vae_loc.scans.cases import find_cases, split_subjects
from vae_loc.system.array_store import ArrayStore
from vae_loc.training.healthy_reference import calibrate_cases
from vae_loc.training.train import HealthyCohort, check_cohort
from vae_loc.training.training_record import read_record


def run_train(folder, output, *options):
    said = invoke("train", folder, "-o", output, "--latents", 4, "--threads", 1, "--quiet", *options).output
    return output.read_bytes(), said


def test_same_seed_gives_the_same_bytes_and_quiet_is_quiet(cohort, tmp_path):
    options = ["--epochs", "1", "--image-size", "32"]
    first, said = run_train(cohort, tmp_path / "a.safetensors", *options)
    assert said == ""
    assert run_train(cohort, tmp_path / "b.safetensors", *options)[0] == first


@pytest.mark.full
def test_another_seed_gives_another_model(cohort, tmp_path):
    options = ["--epochs", "1", "--image-size", "32"]
    first, second = (run_train(cohort, tmp_path / f"{n}.safetensors", *options, "--seed", n)[0] for n in (0, 1))
    assert first != second


def test_each_scan_and_mask_is_read_once(cohort, tmp_path, voxel_reads):
    data = nib.load(cohort / "sub0_t1.nii.gz")
    save(cohort / "sub0_brainmask.nii.gz", (data.get_fdata() > 0).astype(np.uint8), data.affine)
    run_train(cohort, tmp_path / "m.safetensors", "--epochs", "1", "--image-size", "32")
    assert voxel_reads == dict.fromkeys([*cohort.glob("*_t1.nii.gz"), cohort / "sub0_brainmask.nii.gz"], 1)


def test_each_scan_is_read_once_where_another_contrast_is_made_of_it(cohort, tmp_path, voxel_reads):
    options = ["--contrast", "t2", "--synthesize-from", "t1", "--epochs", "1", "--image-size", "32"]
    run_train(cohort, tmp_path / "m.safetensors", *options)
    assert voxel_reads == dict.fromkeys(cohort.glob("*_t1.nii.gz"), 1)
    model = load_checkpoint(tmp_path / "m.safetensors")
    assert set(model.facts.healthy.findings["combi"].kinds) == {"simulated"}
    site = calibrate_cases(model, find_cases([cohort / "sub0_t1.nii.gz"])).facts.healthy.findings["combi"].kinds
    assert (site[0], set(site[1:])) == ("real", {"simulated"})


@pytest.mark.full
def test_another_scan_of_somebody_that_the_network_learned_from_counts_by_place_alone(healthy_folder, tmp_path):
    """Of the reference, sub0 is learned from and sub2 held out with seed 0."""
    (tmp_path / "reference").mkdir()
    for name in ("sub0_t1.nii.gz", "sub2_t1.nii.gz"):
        scan = nib.load(healthy_folder / name)
        save(tmp_path / "reference" / name, scan.get_fdata() * 1.01, scan.affine)
    output = tmp_path / "m.safetensors"
    options = ["--reference", tmp_path / "reference", "--epochs", "1", "--image-size", "32"]
    run_train(healthy_folder, output, *options)
    assert "sub0" in read_record(output.with_suffix(".training.json")).training_subjects
    assert load_checkpoint(output).facts.healthy.subjects == 1


@pytest.mark.parametrize("content", ["nothing", "one scan", "text", "one subject", "loop"])
def test_too_small_a_cohort_is_refused(content, tmp_path, monkeypatch, capsys):
    folder = tmp_path / "c"
    folder.mkdir()
    if content == "text":
        (folder / "a.csv").write_text("x")
    if content == "loop":
        (folder / "loop").symlink_to(folder)
    for number in range({"one scan": 1, "one subject": 3}.get(content, 0)):
        (folder / f"s_{number}.nii").write_bytes(GOOD)
    code, said = run(monkeypatch, capsys, "train", folder, "-o", tmp_path / "m.safetensors", *TINY)
    assert code == 4
    assert said.err.splitlines()[-1].startswith("vae-loc: ")
    assert names(tmp_path) == {"c"}


@pytest.mark.parametrize("place", ["folder", "below a file", "a scan"])
def test_where_a_model_cannot_be_written_is_said_before_training(place, cohort, tmp_path, monkeypatch, capsys):
    output = tmp_path / "m.safetensors"
    if place == "folder":
        output.mkdir()
    if place == "below a file":
        (tmp_path / "file").write_bytes(b"")
        output = tmp_path / "file" / "m.safetensors"
    if place == "a scan":
        output.hardlink_to(cohort / "sub0_t1.nii.gz")
    code, said = run(monkeypatch, capsys, "train", cohort, "-o", output, *TINY)
    assert code == 4
    assert said.err.count("\n") == 1
    assert not (tmp_path / "m.training.json").exists()


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
