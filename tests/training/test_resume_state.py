"""A state that is damaged, or of another run, is refused."""

import json

import numpy as np
import pytest
from safetensors.numpy import load, save

from vae_loc.errors import UnusableModel
from vae_loc.training.fit import FitOptions, train_vae
from vae_loc.training.resume_state import _digest


def test_a_state_that_is_damaged_or_of_another_run_is_refused(tmp_path):
    x = np.random.default_rng(0).standard_normal((8, 32, 32)).astype(np.float32)
    state = tmp_path / "s"
    train_vae(x, x, FitOptions(latents=4, epochs=2), state=state)
    for options in ({"seed": 1}, {"c": 2.0}, {"batch_size": 3}, {"latents": 5}):
        with pytest.raises(UnusableModel, match="other scans or options"):
            train_vae(x, x, FitOptions(**({"latents": 4, "epochs": 2} | options)), state=state, resume=True)
    with pytest.raises(UnusableModel, match="other scans or options"):
        train_vae(x + 1, x, FitOptions(latents=4, epochs=2), state=state, resume=True)
    good = state.read_bytes()
    for place in (*range(0, 200, 7), *range(200, len(good), len(good) // 50), len(good) - 1):
        raw = bytearray(good)
        raw[place] ^= 1
        state.write_bytes(raw)
        with pytest.raises(UnusableModel):
            train_vae(x, x, FitOptions(latents=4, epochs=2), state=state, resume=True)
    for content in (b"", good[:-1], good[:100], good + b"\0"):
        state.write_bytes(content)
        with pytest.raises(UnusableModel):
            train_vae(x, x, FitOptions(latents=4, epochs=2), state=state, resume=True)


SLICES = np.random.default_rng(0).standard_normal((8, 32, 32)).astype(np.float32)
OPTIONS = FitOptions(latents=4, epochs=2)


@pytest.fixture(scope="module")
def whole_state(tmp_path_factory):
    """The bytes of a state after two epochs."""
    state = tmp_path_factory.mktemp("state") / "s"
    train_vae(SLICES, SLICES, OPTIONS, state=state)
    return state.read_bytes()


def rewritten(raw, change):
    """Return a state whose SHA-256 is right, after its tensors and facts were changed."""
    tensors = dict(load(raw))
    metadata = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])["__metadata__"]
    facts = json.loads(metadata["facts"])
    change(tensors, facts)
    stated = json.dumps(facts)
    return save(tensors, metadata={"facts": stated, "sha256": _digest(stated, tensors)})


def tensor(name, change):
    def changed(tensors, _):
        tensors[name] = change(tensors[name])

    return changed


def history(**values):
    return lambda _, facts: facts["history"].update(values)


HOSTILE = {
    "a weight of another shape": tensor("model.encoder.0.weight", lambda t: t[:1]),
    "a weight of NaN": tensor("model.encoder.0.weight", lambda t: t * np.nan),
    "a weight of halves": tensor("best.encoder.0.weight", lambda t: t.astype(np.float16)),
    "a best weight missing": lambda tensors, _: tensors.pop("best.encoder.0.weight"),
    "an Adam moment missing": lambda tensors, _: tensors.pop("adam.0.exp_avg_sq"),
    "an Adam moment of another shape": tensor("adam.0.exp_avg", lambda t: t.ravel()[:3]),
    "an Adam moment below 0": tensor("adam.0.exp_avg_sq", lambda t: t - 1),
    "an Adam moment of nobody": lambda tensors, _: tensors.update({"adam.99.exp_avg": np.zeros(3, np.float32)}),
    "an Adam moment without a number": lambda tensors, _: tensors.update({"adam.x.exp_avg": np.zeros(3, np.float32)}),
    "an unknown tensor": lambda tensors, _: tensors.update({"other.x": np.zeros(3, np.float32)}),
    "a step of another shape": tensor("adam.0.step", lambda t: np.zeros(5, np.float32)),
    "a best loss of NaN": history(best=float("nan")),
    "a best loss of text": history(best="low"),
    "a learning rate of 0": history(learning_rate=0.0),
    "a learning rate of infinity": history(learning_rate=float("inf")),
    "a learning rate of text": history(learning_rate="fast"),
    "bad epochs of text": history(bad_epochs="none"),
    "bad epochs below 0": history(bad_epochs=-1),
    "bad epochs of a truth": history(bad_epochs=True),
    "epochs of text": history(epochs="two"),
    "an epoch of NaN": history(epochs=[{"loss": float("nan")}]),
    "an unknown key of the history": history(more=1),
    "a history of a list": lambda _, facts: facts.update(history=[]),
    "a run that is missing": lambda _, facts: facts.pop("run"),
    "an unknown fact": lambda _, facts: facts.update(more=1),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_state_whose_content_cannot_be_is_one_line_and_is_kept(whole_state, tmp_path, kind):
    state = tmp_path / "s"
    state.write_bytes(rewritten(whole_state, HOSTILE[kind]))
    before = state.read_bytes()
    with pytest.raises(UnusableModel, match="train without --resume"):
        train_vae(SLICES, SLICES, OPTIONS, state=state, resume=True)
    assert state.read_bytes() == before


def test_a_state_that_is_written_again_unchanged_is_resumed(whole_state, tmp_path):
    (tmp_path / "s").write_bytes(rewritten(whole_state, lambda tensors, facts: None))
    train_vae(SLICES, SLICES, OPTIONS, state=tmp_path / "s", resume=True)
