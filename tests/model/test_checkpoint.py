"""A damaged, tampered or foreign model is refused before a tensor is built."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load, save
from support.commands import run

from vae_loc.errors import UnusableModel
from vae_loc.model import checkpoint
from vae_loc.model.checkpoint import find_model, healthy_threshold, load_checkpoint, save_checkpoint, with_reference
from vae_loc.model.facts import FORMAT_VERSION, Healthy, quantiles
from vae_loc.vocabulary import METHODS

MODELS = Path(__file__).resolve().parents[2] / "models"  # with their records, which no wheel holds


def test_a_checkpoint_survives_the_round_trip(model_file, tmp_path):
    model = load_checkpoint(model_file)
    save_checkpoint(model, tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == model_file.read_bytes()


def test_places_of_any_memory_order_survive_the_round_trip(model_file, tmp_path):
    reference = {"mean": np.asfortranarray(np.arange(24, dtype=np.float32).reshape(2, 3, 4))}
    model = with_reference(load_checkpoint(model_file), reference)
    assert model.digest == with_reference(model, {"mean": np.ascontiguousarray(reference["mean"])}).digest
    save_checkpoint(model, tmp_path / "again.safetensors")
    raw = load((tmp_path / "again.safetensors").read_bytes())
    np.testing.assert_array_equal(raw["place.mean"], reference["mean"])


@pytest.mark.parametrize("name", ["t1", "t2", "flair"])
def test_a_shipped_model_is_saved_as_the_same_bytes_and_has_the_digest_of_its_record(tmp_path, name):
    model = load_checkpoint(find_model(name))
    assert model.facts.format_version == FORMAT_VERSION
    assert model.digest == json.loads((MODELS / f"{name}.training.json").read_text())["model_sha256"]
    save_checkpoint(model, tmp_path / "new.safetensors")
    assert (tmp_path / "new.safetensors").read_bytes() == find_model(name).read_bytes()


def test_thresholds_rise_as_the_false_positive_rate_falls(model_file):
    model = load_checkpoint(model_file)
    values = [healthy_threshold(model, "combi", fpr) for fpr in (0.1, 0.05, 0.01)]
    assert values == sorted(values)


@pytest.mark.parametrize("place", [0, 9, 60, 2000, -1000, -1])
def test_one_flipped_bit_is_refused(model_file, tmp_path, place):
    raw = bytearray(model_file.read_bytes())
    raw[place] ^= 1
    (tmp_path / "bad.safetensors").write_bytes(raw)
    with pytest.raises(UnusableModel):
        load_checkpoint(tmp_path / "bad.safetensors")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"x" * 100,
        pickle.dumps({"a": 1}),
        b"PK\x03\x04" + bytes(100),
        save({"w": np.zeros(3, np.float32)}),
        save({"w": np.zeros(3, np.float32)}, metadata={"vae_loc": "{}"}),
        save({"w": np.zeros(3, np.float32)}, metadata={"vae_loc": '{"facts": {"format_version": 99}, "sha256": ""}'}),
    ],
)
def test_foreign_files_are_refused(tmp_path, content):
    (tmp_path / "m.safetensors").write_bytes(content)
    with pytest.raises(UnusableModel):
        load_checkpoint(tmp_path / "m.safetensors")


def test_cut_or_extended_models_are_refused(model_file, tmp_path):
    raw = model_file.read_bytes()
    for content in (raw[:-1], raw[: len(raw) // 2], raw + b"\0"):
        (tmp_path / "m.safetensors").write_bytes(content)
        with pytest.raises(UnusableModel):
            load_checkpoint(tmp_path / "m.safetensors")


def test_noise_is_flagged_at_the_rate_that_was_promised(trained):
    """Ten subjects calibrate, ten others are flagged."""
    rng = np.random.default_rng(0)
    calibration, fresh = rng.standard_normal((2, 10, 40_000)).astype(np.float32)
    noise = {name: quantiles(calibration) for name in METHODS}
    healthy = Healthy(
        subjects=10, maps=noise, raw_maps=noise, slices={}, volumes={}, findings={}, spread=noise["combi"]
    )
    model = with_reference(trained.checkpoint, {}, healthy)
    for fpr in (0.01, 0.05, 0.1):
        assert (fresh > healthy_threshold(model, "combi", fpr)).mean() == pytest.approx(fpr, abs=0.005)


def test_a_missing_model_is_named(scan, monkeypatch, capsys):
    code, said = run(monkeypatch, capsys, "score", scan, "-m", "nothing.safetensors")
    assert code == 5
    assert said.err.startswith("vae-loc: nothing.safetensors: expected a model file")


def test_a_name_is_a_shipped_model_and_a_path_is_itself(model_file):
    assert find_model("t1").name == "t1.safetensors"
    assert find_model(str(model_file)) == model_file


def test_the_state_of_a_training_is_no_shipped_model(tmp_path, monkeypatch):
    for name in ("mine.safetensors", "mine.state.safetensors"):
        (tmp_path / name).touch()
    monkeypatch.setattr(checkpoint, "PLACES", (tmp_path,))
    assert checkpoint.shipped_models() == ["mine"]
