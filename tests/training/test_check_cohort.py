"""A cohort is tried before the first epoch, split by person, and trained so that nothing is lost."""

import json
import shutil
import signal
import time

import nibabel as nib
import numpy as np
import pytest
from corpus import GOOD, RANDOM, raw_scan
from test_bad_input import run
from test_process import finish, names, start

from vae_loc.errors import TrainingDiverged, UnusableInput
from vae_loc.scans.cases import Case, find_cases, split_subjects
from vae_loc.scans.volume import read_volume
from vae_loc.training.check_cohort import check_cohort
from vae_loc.training.fit import train_vae

TINY = ["--latents", "4", "--image-size", "32", "--threads", "1", "--quiet"]


SOME_EPOCHS = ["--epochs", "12", "--batch-size", "8", *TINY]


@pytest.fixture
def cohort(healthy_folder, tmp_path):
    shutil.copytree(healthy_folder, tmp_path / "healthy")
    return tmp_path / "healthy"


def admitted(folder):
    return check_cohort(
        find_cases([folder]), lambda case: read_volume(case.scan), skip_bad=False, advance=lambda _: None
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
    options = ["--skip-bad", "--epochs", "1", *TINY[:-1]]
    monkeypatch.setattr("sys.argv", ["vae-loc", "train", str(cohort), "-o", str(tmp_path / "m.safetensors"), *options])
    from vae_loc.cli.app import main

    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    assert "left out" in capsys.readouterr().err
    record = json.loads((tmp_path / "m.training.json").read_text())
    assert len(record["skipped"]) == 1
    assert "bad1_t1.nii.gz" in record["skipped"][0]
    assert names(tmp_path) == {"healthy", "m.safetensors", "m.training.json"}


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


def test_the_same_scan_never_lies_on_both_sides(tmp_path):
    for number in range(8):
        content = np.asarray(nib.Nifti1Image.from_bytes(GOOD).dataobj) + number
        (tmp_path / f"s{number}_t1.nii").write_bytes(raw_scan(content.astype(np.float32)))
    shutil.copy(tmp_path / "s0_t1.nii", tmp_path / "copy_t1.nii")
    nib.save(nib.load(tmp_path / "s1_t1.nii"), tmp_path / "packed_t1.nii.gz")
    wide = raw_scan(np.asarray(nib.load(tmp_path / "s2_t1.nii").dataobj).astype(np.float64))
    (tmp_path / "wide_t1.nii").write_bytes(wide)
    cases = admitted(tmp_path).cases
    twins = ({"s0_t1.nii", "copy_t1.nii"}, {"s1_t1.nii", "packed_t1.nii.gz"}, {"s2_t1.nii", "wide_t1.nii"})
    for seed in range(40):
        for side in split_subjects(cases, holdout=0.3, seed=seed):
            here = {case.scan.name for case in side}
            assert all(len(pair & here) in (0, 2) for pair in twins)


def test_sessions_of_one_person_never_lie_on_both_sides(tmp_path):
    scans = [tmp_path / f"sub-{n:02}_ses-{s}_T1w.nii" for n in range(6) for s in range(3)]
    for index, scan in enumerate(scans):
        scan.write_bytes(raw_scan((np.asarray(nib.Nifti1Image.from_bytes(GOOD).dataobj) + index).astype(np.float32)))
    cases = admitted(tmp_path).cases
    for seed in range(20):
        sides = split_subjects(cases, holdout=0.4, seed=seed)
        people = [{case.scan.name[:6] for case in side} for side in sides]
        assert not people[0] & people[1]


def test_a_folder_of_folders_by_subject_has_as_many_subjects(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "T1w.nii").write_bytes(GOOD)
    assert {case.subject for case in find_cases([tmp_path / "a", tmp_path / "b"])} == {"a", "b"}


def test_admit_joins_subjects_that_share_a_scan(tmp_path):
    cases = [Case(tmp_path / name, name, None) for name in "abc"]
    scan = tmp_path / "s.nii"
    scan.write_bytes(GOOD)
    found = check_cohort(cases, lambda _: read_volume(scan), skip_bad=False, advance=lambda _: None)
    assert {case.subject for case in found.cases} == {"a"}
    with pytest.raises(UnusableInput, match="at least 2 subjects"):
        split_subjects(found.cases, holdout=0.5, seed=0)


def test_an_infinite_loss_stops_and_keeps_the_last_good_epoch(tmp_path):
    x = np.random.default_rng(0).standard_normal((8, 32, 32)).astype(np.float32)
    train_vae(x, x, latents=4, epochs=1, state=tmp_path / "s")
    kept = (tmp_path / "s").read_bytes()
    with pytest.raises(TrainingDiverged, match=r"NaN or infinite: --c is too small"):
        train_vae(x, x, latents=4, epochs=1, c=1e-30, state=tmp_path / "s")
    assert (tmp_path / "s").read_bytes() == kept


@pytest.fixture(scope="module")
def uninterrupted(healthy_folder, tmp_path_factory):
    output = tmp_path_factory.mktemp("whole") / "whole.safetensors"
    assert finish(start("train", healthy_folder, *SOME_EPOCHS, "-o", output))[0] == 0
    return output


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_interrupted_training_resumes_to_the_same_bytes(healthy_folder, uninterrupted, tmp_path, number):
    arguments = ["train", healthy_folder, *SOME_EPOCHS, "-o"]
    whole, halves = uninterrupted, tmp_path / "halves.safetensors"
    process = start(*arguments, halves)
    state = tmp_path / "halves.state.safetensors"
    for _ in range(6000):
        if state.exists():
            break
        time.sleep(0.01)
    process.send_signal(number)
    code, _, err = finish(process)
    assert (code, err) == (128 + number, "")
    assert not halves.exists()
    assert not [name for name in names(tmp_path) if name.endswith(".tmp")]
    code, _, err = finish(start(*arguments, halves, "--resume"))
    assert code == 0, err
    assert halves.read_bytes() == whole.read_bytes()
    records = [json.loads(path.with_suffix(".training.json").read_text()) for path in (whole, halves)]
    assert records[0]["best_valid_loss"] == records[1]["best_valid_loss"]
    assert not state.exists()


def test_a_state_that_is_damaged_or_of_another_run_is_refused(tmp_path):
    from vae_loc.errors import UnusableModel

    x = np.random.default_rng(0).standard_normal((8, 32, 32)).astype(np.float32)
    state = tmp_path / "s"
    train_vae(x, x, latents=4, epochs=2, state=state)
    for options in ({"seed": 1}, {"c": 2.0}, {"batch_size": 3}, {"latents": 5}):
        with pytest.raises(UnusableModel, match="other scans or options"):
            train_vae(x, x, **({"latents": 4} | options), epochs=2, state=state, resume=True)
    with pytest.raises(UnusableModel, match="other scans or options"):
        train_vae(x + 1, x, latents=4, epochs=2, state=state, resume=True)
    good = state.read_bytes()
    for place in (*range(0, 200, 7), *range(200, len(good), len(good) // 50), len(good) - 1):
        raw = bytearray(good)
        raw[place] ^= 1
        state.write_bytes(raw)
        with pytest.raises(UnusableModel):
            train_vae(x, x, latents=4, epochs=2, state=state, resume=True)
    for content in (b"", good[:-1], good[:100], good + b"\0"):
        state.write_bytes(content)
        with pytest.raises(UnusableModel):
            train_vae(x, x, latents=4, epochs=2, state=state, resume=True)


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
