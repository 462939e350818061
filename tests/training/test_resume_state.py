"""A state that is damaged, or of another run, is refused; one of this run is gone on from."""

import json

import numpy as np
import pytest
from safetensors.numpy import load, save

from vae_loc.errors import UnusableModel
from vae_loc.training import resume_state
from vae_loc.training.fit import train_vae
from vae_loc.training.training_options import TrainingOptions

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
    runs = {resume_state.fingerprint(training, validation, "") for training in (SLICES, SLICES[::-1])
            for validation in (SLICES, SLICES[::-1])}  # fmt: skip
    assert len(runs) == 4


def test_a_state_of_another_version_is_refused(resumed, monkeypatch):
    monkeypatch.setattr(resume_state, "versions", lambda: {"vae-loc": "0.1"})
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
    raw = save(tensors, metadata={"facts": stated, "sha256": resume_state._digest(stated, tensors)})
    with pytest.raises(UnusableModel, match="train without --resume"):
        resumed(raw)
