"""Training is seeded, resumable, and lowers the loss."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from vae_loc.errors import TrainingDiverged
from vae_loc.training.fit import History, short_rate, train_vae
from vae_loc.training.training_options import TrainingOptions


@pytest.mark.parametrize("schedule", ["short", "plateau"])
def test_resumed_training_equals_uninterrupted(tmp_path, schedule):
    x = np.random.default_rng(0).standard_normal((24, 32, 32)).astype(np.float32)
    options = TrainingOptions(latents=4, epochs=3, batch_size=8, schedule=schedule, coarse_noise_sd=1.0)
    whole, unbroken = train_vae(x[4:], x[:4], options, state=tmp_path / "w")

    def stop_in_the_second_epoch(epoch, *_):
        if epoch == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_vae(x[4:], x[:4], options, state=tmp_path / "s", progress=stop_in_the_second_epoch)
    steps = []
    resumed, history = train_vae(
        x[4:], x[:4], options, state=tmp_path / "s", resume=True, progress=lambda epoch, *_: steps.append(epoch)
    )
    assert steps == [1] * 3 + [2] * 3  # not begun anew
    assert history == unbroken
    assert all(np.array_equal(whole[name], resumed[name]) for name in whole)


def test_the_short_schedule_warms_up_to_its_peak_and_ends_at_nothing():
    rates = [short_rate(share) for share in np.linspace(0, 1, 101)]
    assert int(np.argmax(rates)) == 10
    assert max(rates) == pytest.approx(1e-3)
    assert rates[-1] == pytest.approx(0)
    assert 0 < rates[0] < rates[5] < rates[10] > rates[50] > rates[99]


def test_the_rate_of_each_schedule_is_recorded():
    x = np.random.default_rng(0).standard_normal((8, 32, 32)).astype(np.float32)
    options = TrainingOptions(latents=4, epochs=2, batch_size=4)
    short, plateau = (
        [row["learning_rate"] for row in train_vae(x, x, replace(options, schedule=schedule))[1].epochs]
        for schedule in ("short", "plateau")
    )
    assert short == pytest.approx([short_rate(0.25), short_rate(0.75)])
    assert plateau == [1e-4, 1e-4]


def test_training_lowers_the_loss():
    x = np.full((16, 32, 32), -3, dtype=np.float32)
    _, history = train_vae(x, x, TrainingOptions(latents=4, epochs=5, batch_size=2, coarse_noise_sd=0))
    assert history.epochs[-1]["valid_loss"] < history.epochs[0]["valid_loss"]


def test_the_weights_are_those_of_the_epoch_with_the_lowest_validation_loss():
    """Bright slices to learn from, dark ones to validate: each epoch is worse than the first."""
    bright = np.full((16, 32, 32), 3, dtype=np.float32)
    options = TrainingOptions(latents=4, epochs=3, batch_size=2, schedule="plateau", coarse_noise_sd=0)
    weights, history = train_vae(bright, -bright, options)
    assert history.losses == sorted(history.losses)
    first, _ = train_vae(bright, -bright, replace(options, epochs=1))
    assert all(np.array_equal(weights[name], first[name]) for name in first)


def test_the_clean_slices_are_the_target_of_those_with_coarse_noise():
    """Before the first step the network returns about nothing, so that Rec is that of the target."""
    x = np.zeros((16, 32, 32), dtype=np.float32)
    clean, noised = (
        train_vae(x, x, TrainingOptions(latents=4, epochs=1, coarse_noise_sd=sd))[1].epochs[0] for sd in (0.0, 10.0)
    )
    assert noised["train_rec"] == pytest.approx(clean["train_rec"], rel=0.2)
    assert noised["train_kl"] > 2 * clean["train_kl"]  # the network saw the noise


def test_an_infinite_loss_stops_and_keeps_the_last_good_epoch(tmp_path):
    x = np.random.default_rng(0).standard_normal((8, 32, 32)).astype(np.float32)
    train_vae(x, x, TrainingOptions(latents=4, epochs=1), state=tmp_path / "s")
    kept = (tmp_path / "s").read_bytes()
    with pytest.raises(TrainingDiverged, match=r"NaN or infinite: --c is too small"):
        train_vae(x, x, TrainingOptions(latents=4, epochs=1, c=1e-30), state=tmp_path / "s")
    assert (tmp_path / "s").read_bytes() == kept


def history_of(*losses):
    return History([{"valid_loss": loss} for loss in losses])


def test_under_plateau_the_rate_falls_at_the_third_epoch_in_vain_and_the_training_ends_at_the_fourth():
    assert history_of().plateau_rate == 1e-4
    assert history_of(9, 9, 10).plateau_rate == 1e-4
    assert history_of(9, 9, 10, 9).plateau_rate == pytest.approx(1e-5)
    assert not history_of(9, 9, 10, 9).finished
    assert history_of(9, 9, 10, 9, 9).finished
    falls = history_of(9, 8, 9, 9, 9, 7, 7, 7, 7)
    assert falls.plateau_rate == pytest.approx(1e-6)
    assert not falls.finished
    assert falls.best == 7


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_learns_what_the_cpu_learns_with_the_cohort_in_its_memory():
    x = np.random.default_rng(0).standard_normal((64, 32, 32)).astype(np.float32)
    options = TrainingOptions(latents=4, epochs=2, batch_size=8)
    held = torch.cuda.memory_allocated()
    (_, on_cpu), (_, on_gpu) = (train_vae(x[8:], x[:8], options, device=device) for device in ("cpu", "cuda"))
    assert torch.cuda.max_memory_allocated() - held > x.nbytes
    for cpu, gpu in zip(on_cpu.epochs, on_gpu.epochs, strict=True):
        assert gpu["valid_loss"] == pytest.approx(cpu["valid_loss"], rel=0.01)
