"""Training is seeded, resumable, and split by subject."""

import json

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from vae_loc.cli.app import app
from vae_loc.scans.cases import Case, split_subjects
from vae_loc.training.augmentation import add_coarse_noise, augment
from vae_loc.training.fit import short_epochs, short_rate, train_vae

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
    assert len(record["epochs"]) == 8
    assert len(record["holdout_subjects"]) == 1
    assert not set(record["holdout_subjects"]) & set(record["training_subjects"])
    assert record["facts"]["training"]["versions"]["torch"]


@pytest.mark.parametrize("schedule", ["short", "plateau"])
def test_resumed_training_equals_uninterrupted(tmp_path, schedule):
    x = np.random.default_rng(0).standard_normal((24, 32, 32)).astype(np.float32)
    options = {"latents": 4, "epochs": 3, "batch_size": 8, "schedule": schedule, "coarse_noise_sd": 1.0}
    whole, _ = train_vae(x[4:], x[:4], **options, state=tmp_path / "w")

    def stop_in_the_second_epoch(epoch, *_):
        if epoch == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_vae(x[4:], x[:4], **options, state=tmp_path / "s", progress=stop_in_the_second_epoch)
    resumed, history = train_vae(x[4:], x[:4], **options, state=tmp_path / "s", resume=True)
    assert len(history.epochs) == 3
    assert all(np.array_equal(whole[name], resumed[name]) for name in whole)


def test_coarse_noise_stays_in_the_brain_and_is_as_strong_as_asked_for():
    x = torch.full((16, 1, 64, 64), -4.0)
    x[:, :, 16:48, 16:48] = 0
    y = add_coarse_noise(x, 1.5, torch.Generator().manual_seed(0))
    assert torch.equal(y[x == -4], x[x == -4])
    assert 0.3 < (y - x)[x == 0].std() < 1.5
    neighbours = (y[:, :, 17:48, 16:48] - y[:, :, 16:47, 16:48]).abs().mean()
    assert neighbours < 0.5 * (y - x)[x == 0].abs().mean()


def test_the_short_schedule_makes_about_its_number_of_steps():
    assert short_epochs(10_696, 64) == 10
    assert short_epochs(64, 64) == 1700
    assert short_epochs(10**9, 64) == 1
    rates = [short_rate(share) for share in np.linspace(0, 1, 101)]
    assert max(rates) == pytest.approx(1e-3)
    assert rates[-1] == pytest.approx(0)


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
    assert inside.min() > -2.5  # shading, gain, offset and noise; no background
    assert inside.max() < 3.5


def test_subjects_never_cross_the_split(tmp_path):
    cases = [Case(tmp_path / f"s{i % 10}_{i}.nii", f"s{i % 10}", None) for i in range(30)]
    training, held_out = split_subjects(cases, holdout=0.2, seed=0)
    assert not {c.subject for c in training} & {c.subject for c in held_out}
    assert len({c.subject for c in held_out}) == 2
    assert split_subjects(cases[::-1], holdout=0.2, seed=0) == (training, held_out)
