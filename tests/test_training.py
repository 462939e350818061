"""Training is seeded, resumable, and split by subject."""

import json

import numpy as np
import torch
from typer.testing import CliRunner

from vae_loc.cli import app
from vae_loc.cohort import Case, split_subjects
from vae_loc.training import augment, train_vae

OPTIONS = ["--latents", "4", "--threads", "1", "--quiet"]


def run_train(folder, output, *options):
    result = CliRunner().invoke(app, ["train", str(folder), "-o", str(output), *OPTIONS, *options])
    assert result.exit_code == 0, result.output
    return output.read_bytes()


def test_same_seed_gives_the_same_bytes(healthy_folder, tmp_path):
    first = run_train(healthy_folder, tmp_path / "a.safetensors", "--epochs", "1")
    assert run_train(healthy_folder, tmp_path / "b.safetensors", "--epochs", "1") == first
    assert run_train(healthy_folder, tmp_path / "c.safetensors", "--epochs", "1", "--seed", "1") != first


def test_the_record_holds_history_and_split(model_file):
    record = json.loads(model_file.with_suffix(".training.json").read_text())
    assert len(record["epochs"]) == 2
    assert len(record["holdout_subjects"]) == 1
    assert not set(record["holdout_subjects"]) & set(record["training_subjects"])
    assert record["facts"]["training"]["versions"]["torch"]


def test_resumed_training_equals_uninterrupted(tmp_path):
    x = np.random.default_rng(0).standard_normal((24, 32, 32)).astype(np.float32)
    whole, _ = train_vae(x[4:], x[:4], latents=4, epochs=3, batch_size=8, state=tmp_path / "w")
    train_vae(x[4:], x[:4], latents=4, epochs=1, batch_size=8, state=tmp_path / "s")
    resumed, history = train_vae(x[4:], x[:4], latents=4, epochs=3, batch_size=8, state=tmp_path / "s", resume=True)
    assert len(history.epochs) == 3
    assert all(np.array_equal(whole[name], resumed[name]) for name in whole)


def test_training_lowers_the_loss():
    x = np.full((16, 32, 32), -3, dtype=np.float32)
    _, history = train_vae(x, x, latents=4, epochs=5, batch_size=2)
    assert history.epochs[-1]["valid_loss"] < history.epochs[0]["valid_loss"]


def test_augmentation_differs_between_slices_and_keeps_the_background():
    x = torch.full((8, 1, 64, 64), -4.0)
    x[:, :, 20:44, 16:40] = torch.linspace(-1, 1, 24)
    y = augment(x, torch.Generator().manual_seed(0))
    assert torch.equal(y, augment(x, torch.Generator().manual_seed(0)))
    assert all(not torch.equal(y[0], other) for other in y[1:])
    assert (y[:, :, 0] == -4).all()
    inside = y[y > -4]
    assert inside.min() > -2.5  # shading by up to three of its standard deviations, gain, offset and noise; no background
    assert inside.max() < 3.5


def test_subjects_never_cross_the_split(tmp_path):
    cases = [Case(tmp_path / f"s{i % 10}_{i}.nii", f"s{i % 10}", None) for i in range(30)]
    training, held_out = split_subjects(cases, holdout=0.2, seed=0)
    assert not {c.subject for c in training} & {c.subject for c in held_out}
    assert len({c.subject for c in held_out}) == 2
    assert split_subjects(cases[::-1], holdout=0.2, seed=0) == (training, held_out)
