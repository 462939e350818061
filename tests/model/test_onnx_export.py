"""The exported graph gives the scores of torch, and export writes what other programs run."""

import shutil

import numpy as np
import pytest
import torch
from support.commands import invoke, run
from support.networks import random_vae, score_terms_of

from vae_loc.model.checkpoint import load_checkpoint
from vae_loc.model.onnx_graph import load_graph
from vae_loc.model.shipped import find_model
from vae_loc.model.vae import SCORE_TERMS, VAE, score_terms


@pytest.fixture(scope="module")
def vae():
    return random_vae()


@pytest.fixture(scope="module")
def network(vae):
    return score_terms_of(vae)


def assert_terms_equal(found, vae, x, c):
    expected = dict(zip(SCORE_TERMS, score_terms(vae, x, c), strict=True))
    for name, value in found.items():
        scale = float(expected[name].abs().max())
        np.testing.assert_allclose(value, expected[name].numpy(), rtol=1e-5, atol=1e-5 * scale, err_msg=name)


@pytest.mark.parametrize("slices", [1, 5])
def test_the_graph_equals_torch(vae, network, slices):
    x = torch.from_numpy(np.random.default_rng(1).standard_normal((slices, 1, 64, 64)).astype(np.float32))
    for name in ("kl", "all"):
        assert_terms_equal(network(name)(x.numpy(), 0.7), vae, x, 0.7)
    assert list(network("all")(x.numpy(), 1.0)) == list(SCORE_TERMS)


def test_the_graph_equals_torch_where_log_sigma_is_clamped(network, vae):
    x = torch.full((2, 1, 64, 64), 1000.0)
    assert (vae.encode(x)[1].abs() == 10).any()
    assert_terms_equal(network("all")(x.numpy(), 1.0), vae, x, 1.0)


@pytest.mark.parametrize("name", ["t1", "t2", "flair"])
def test_the_graph_of_a_shipped_model_equals_torch(name):
    checkpoint = load_checkpoint(find_model(name))
    size = checkpoint.facts.network
    shipped = VAE(latents=size.latents, image_size=size.image_size).requires_grad_(False)
    shipped.load_state_dict({key: torch.from_numpy(value.copy()) for key, value in checkpoint.weights.items()})
    x = torch.from_numpy(np.random.default_rng(2).standard_normal((3, 1, 64, 64)).astype(np.float32))
    for graph in checkpoint.graphs.values():
        assert_terms_equal(load_graph(graph, checkpoint.weights, name)(x.numpy(), size.c), shipped, x, size.c)


@pytest.fixture(scope="module")
def shipped():
    return load_checkpoint(find_model("t1"))


def test_an_exported_onnx_file_gives_the_same_scores(shipped, tmp_path):
    invoke("export", "t1", "-o", tmp_path / "t1.onnx")
    x = np.random.default_rng(0).standard_normal((2, 1, 64, 64)).astype(np.float32)
    own = load_graph(shipped.graphs["all"], shipped.weights, "t1")(x, 1.0)
    import onnxruntime  # after the package's own import, which turns its telemetry off

    session = onnxruntime.InferenceSession(tmp_path / "t1.onnx", providers=["CPUExecutionProvider"])
    found = session.run(None, {"x": x, "c": np.array(1, np.float32)})
    for value, expected in zip(found, own.values(), strict=True):
        np.testing.assert_allclose(value, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize(
    ("name", "expected", "words"),
    [("model.safetensors", 2, "ending in .onnx"), ("model.onnx", 4, "one of the inputs")],
)
def test_export_never_overwrites_its_model(tmp_path, monkeypatch, capsys, name, expected, words):
    path = tmp_path / name
    shutil.copy(find_model("t1"), path)
    code, said = run(monkeypatch, capsys, "export", path, "-o", path)
    assert code == expected
    assert words in said.err
    assert path.read_bytes() == find_model("t1").read_bytes()
