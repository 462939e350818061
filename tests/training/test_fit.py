"""Training is seeded and lowers the loss; it is resumed from its own state, and from no other or damaged one."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.numpy import load, save

from vae_loc.errors import TrainingDiverged, UnusableModel
from vae_loc.training import fit
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


SLICES = np.random.default_rng(0).standard_normal((8, 32, 32)).astype(np.float32)
OPTIONS = {"latents": 4, "epochs": 2}


@pytest.fixture(scope="module")
def whole_state(tmp_path_factory):
    """The bytes of a state after the last of two epochs."""
    state = tmp_path_factory.mktemp("state") / "s"
    train_vae(SLICES, SLICES, TrainingOptions(**OPTIONS), state=state)
    return state.read_bytes()


@pytest.fixture
def resumed(whole_state, tmp_path):
    """Go on from a state: `raw`, or the whole one."""

    def resumed(raw=whole_state, training=SLICES, **options):
        (tmp_path / "s").write_bytes(raw)
        steps = []
        made = train_vae(
            training,
            SLICES,
            TrainingOptions(**OPTIONS | options),
            state=tmp_path / "s",
            resume=True,
            progress=lambda *step: steps.append(step),
        )
        return *made, steps

    return resumed


def test_a_finished_training_is_gone_on_from_without_another_step(resumed, whole_state):
    weights, history, steps = resumed()
    assert steps == []
    assert len(history.epochs) == 2
    stored = load(whole_state)
    assert all(np.array_equal(values, stored[f"best.{name}"]) for name, values in weights.items())


@pytest.mark.parametrize("options", [{"seed": 1}, {"c": 2.0}, {"batch_size": 3}, {"latents": 5}, {"epochs": 3},
                                     {"schedule": "plateau"}, {"coarse_noise_sd": 1.0}])  # fmt: skip
def test_a_state_of_other_options_is_refused(resumed, options):
    with pytest.raises(UnusableModel, match="of other scans, options or versions; give the same ones"):
        resumed(**options)


def test_a_state_of_other_scans_is_refused(resumed):
    with pytest.raises(UnusableModel, match="of other scans, options or versions"):
        resumed(training=SLICES + 1)


def test_a_run_is_told_by_both_sides_of_the_split():
    runs = {fit.fingerprint(training, validation, "") for training in (SLICES, SLICES[::-1])
            for validation in (SLICES, SLICES[::-1])}  # fmt: skip
    assert len(runs) == 4


def test_a_state_of_another_version_is_refused(resumed, monkeypatch):
    monkeypatch.setattr(fit, "versions", lambda: {"vae-loc": "0.1"})
    with pytest.raises(UnusableModel, match="of other scans, options or versions"):
        resumed()


def test_a_damaged_state_is_refused(resumed, whole_state):
    size = len(whole_state)
    for place in (*range(0, 200, 29), *range(200, size, size // 12), size - 1):
        raw = bytearray(whole_state)
        raw[place] ^= 1
        with pytest.raises(UnusableModel):
            resumed(bytes(raw))
    for raw in (b"", whole_state[:-1], whole_state[:100], whole_state + b"\0"):
        with pytest.raises(UnusableModel):
            resumed(raw)


def tensor(name, change):
    return lambda tensors, _: tensors.update({name: change(tensors[name])})


HOSTILE = {
    "a weight of another shape": tensor("model.encoder.0.weight", lambda t: t[:1]),
    "a weight missing": lambda tensors, _: tensors.pop("model.encoder.0.weight"),
    "an Adam moment without a number": lambda tensors, _: tensors.update({"adam.x.exp_avg": np.zeros(3, np.float32)}),
    "epochs of text": lambda _, facts: facts.update(epochs="two"),
    "a run that is missing": lambda _, facts: facts.pop("run"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_state_whose_content_cannot_be_is_one_line(resumed, whole_state, kind):
    """Its SHA-256 is right, its content is not."""
    tensors = dict(load(whole_state))
    metadata = json.loads(whole_state[8 : 8 + int.from_bytes(whole_state[:8], "little")])["__metadata__"]
    facts = json.loads(metadata["facts"])
    HOSTILE[kind](tensors, facts)
    stated = json.dumps(facts)
    raw = save(tensors, metadata={"facts": stated, "sha256": fit._digest(stated, tensors)})
    with pytest.raises(UnusableModel, match="train without --resume"):
        resumed(raw)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_learns_what_the_cpu_learns_with_the_cohort_in_its_memory():
    x = np.random.default_rng(0).standard_normal((64, 32, 32)).astype(np.float32)
    options = TrainingOptions(latents=4, epochs=2, batch_size=8)
    held = torch.cuda.memory_allocated()
    (_, on_cpu), (_, on_gpu) = (train_vae(x[8:], x[:8], options, device=device) for device in ("cpu", "cuda"))
    assert torch.cuda.max_memory_allocated() - held > x.nbytes
    for cpu, gpu in zip(on_cpu.epochs, on_gpu.epochs, strict=True):
        assert gpu["valid_loss"] == pytest.approx(cpu["valid_loss"], rel=0.01)
