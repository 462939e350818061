"""Models by name."""

from support.commands import run

from vae_loc.model import shipped
from vae_loc.model.shipped import find_model


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
    monkeypatch.setattr(shipped, "PLACES", (tmp_path,))
    assert shipped.shipped_models() == ["mine"]
