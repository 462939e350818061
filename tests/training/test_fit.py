"""Training is seeded, resumable, and lowers the loss."""

import numpy as np
import pytest
import torch

from vae_loc.errors import TrainingDiverged
from vae_loc.training.distributed import ProcessGroup
from vae_loc.training.fit import FitOptions, short_epochs, short_rate, train_vae


@pytest.mark.parametrize("schedule", ["short", "plateau"])
def test_resumed_training_equals_uninterrupted(tmp_path, schedule):
    x = np.random.default_rng(0).standard_normal((24, 32, 32)).astype(np.float32)
    options = FitOptions(latents=4, epochs=3, batch_size=8, schedule=schedule, coarse_noise_sd=1.0)
    whole, _ = train_vae(x[4:], x[:4], options, state=tmp_path / "w")

    def stop_in_the_second_epoch(epoch, *_):
        if epoch == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_vae(x[4:], x[:4], options, state=tmp_path / "s", progress=stop_in_the_second_epoch)
    resumed, history = train_vae(x[4:], x[:4], options, state=tmp_path / "s", resume=True)
    assert len(history.epochs) == 3
    assert all(np.array_equal(whole[name], resumed[name]) for name in whole)


def test_the_short_schedule_makes_about_its_number_of_steps():
    assert short_epochs(10_696, 64) == 5
    assert short_epochs(64, 64) == 850
    assert short_epochs(10_696, 64, steps=1700) == 10
    assert short_epochs(10**9, 64) == 1
    rates = [short_rate(share) for share in np.linspace(0, 1, 101)]
    assert max(rates) == pytest.approx(1e-3)
    assert rates[-1] == pytest.approx(0)


def test_training_lowers_the_loss():
    x = np.full((16, 32, 32), -3, dtype=np.float32)
    _, history = train_vae(x, x, FitOptions(latents=4, epochs=5, batch_size=2))
    assert history.epochs[-1]["valid_loss"] < history.epochs[0]["valid_loss"]


def test_an_infinite_loss_stops_and_keeps_the_last_good_epoch(tmp_path):
    x = np.random.default_rng(0).standard_normal((8, 32, 32)).astype(np.float32)
    train_vae(x, x, FitOptions(latents=4, epochs=1), state=tmp_path / "s")
    kept = (tmp_path / "s").read_bytes()
    with pytest.raises(TrainingDiverged, match=r"NaN or infinite: --c is too small"):
        train_vae(x, x, FitOptions(latents=4, epochs=1, c=1e-30), state=tmp_path / "s")
    assert (tmp_path / "s").read_bytes() == kept


@pytest.mark.parametrize(
    ("change", "other"),
    [({"seed": 1}, True), ({"schedule": "plateau"}, True), ({"precision": "bf16"}, True), ({"epochs": 7}, True),
     ({"coarse_noise_sd": 1.0}, True), ({"schedule": "plateau", "epochs": 7}, True), ({}, False)],
)  # fmt: skip
def test_options_state_all_that_a_run_depends_on(change, other):
    assert (FitOptions(**change).stated() != FitOptions().stated()) == other


def test_under_plateau_the_number_of_epochs_only_ends_a_run():
    few, many = (FitOptions(schedule="plateau", epochs=epochs).stated() for epochs in (3, 300))
    assert few == many


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_learns_what_the_cpu_learns_with_the_cohort_in_its_memory():
    x = np.random.default_rng(0).standard_normal((64, 32, 32)).astype(np.float32)
    options = FitOptions(latents=4, epochs=2, batch_size=8)
    held = torch.cuda.memory_allocated()
    (_, on_cpu), (_, on_gpu) = (
        train_vae(x[8:], x[:8], options, group=ProcessGroup(device=device)) for device in ("cpu", "cuda")
    )
    assert torch.cuda.max_memory_allocated() - held > x.nbytes
    for cpu, gpu in zip(on_cpu.epochs, on_gpu.epochs, strict=True):
        assert gpu["valid_loss"] == pytest.approx(cpu["valid_loss"], rel=0.01)
