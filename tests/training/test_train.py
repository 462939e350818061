"""A cohort becomes a model: the same for the same seed, split by subject, each scan read once."""

import nibabel as nib
import numpy as np
import pytest
from support.commands import TINY, invoke, names, run
from support.corpus import GOOD
from support.phantoms import save

from vae_loc.model.checkpoint import load_checkpoint
from vae_loc.training.training_record import read_record


def run_train(folder, output, *options):
    said = invoke("train", folder, "-o", output, "--latents", 4, "--threads", 1, "--quiet", *options).output
    return output.read_bytes(), said


def test_same_seed_gives_the_same_bytes_and_quiet_is_quiet(cohort, tmp_path):
    options = ["--epochs", "1", "--image-size", "32"]
    first, said = run_train(cohort, tmp_path / "a.safetensors", *options)
    assert said == ""
    assert run_train(cohort, tmp_path / "b.safetensors", *options)[0] == first
    assert run_train(cohort, tmp_path / "c.safetensors", *options, "--seed", "1")[0] != first


def test_each_scan_and_mask_is_read_once(cohort, tmp_path, voxel_reads):
    data = nib.load(cohort / "sub0_t1.nii.gz")
    save(cohort / "sub0_brainmask.nii.gz", (data.get_fdata() > 0).astype(np.uint8), data.affine)
    run_train(cohort, tmp_path / "m.safetensors", "--epochs", "1", "--image-size", "32")
    assert voxel_reads == dict.fromkeys([*cohort.glob("*_t1.nii.gz"), cohort / "sub0_brainmask.nii.gz"], 1)


def test_each_scan_is_read_once_where_another_contrast_is_made_of_it(cohort, tmp_path, voxel_reads):
    options = ["--contrast", "t2", "--synthesize-from", "t1", "--epochs", "1", "--image-size", "32"]
    run_train(cohort, tmp_path / "m.safetensors", *options)
    assert voxel_reads == dict.fromkeys(cohort.glob("*_t1.nii.gz"), 1)


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
