"""The graph of every size gives the terms of torch, no graph of a file counts, and export writes one for others."""

import runpy
import shutil

import numpy as np
import pytest
import torch
from support.commands import invoke, run
from support.networks import random_vae, score_terms_of
from support.places import ROOT

from vae_loc.model.checkpoint import find_model, load_checkpoint
from vae_loc.model.facts import NetworkSize
from vae_loc.model.graph import GRAPHS, load_graph, weight_shapes
from vae_loc.model.network import ready
from vae_loc.model.vae import SCORE_TERMS, VAE, score_terms

SIZES = [(256, 64), (16, 64), (1, 32), (4, 16), (256, 16), (17, 48), (32, 128), (4096, 16), (2, 256)]


def assert_terms_equal(found, vae, x, c):
    expected = dict(zip(SCORE_TERMS, score_terms(vae, x, c), strict=True))
    for name, value in found.items():
        scale = float(expected[name].abs().max())
        np.testing.assert_allclose(value, expected[name].numpy(), rtol=1e-5, atol=1e-5 * scale, err_msg=name)


@pytest.mark.parametrize(("latents", "image_size"), SIZES)
def test_the_graphs_of_every_size_equal_torch(latents, image_size):
    torch.manual_seed(0)
    vae = VAE(latents=latents, image_size=image_size).requires_grad_(False)
    weights = {name: weight.numpy() for name, weight in vae.state_dict().items()}
    size = NetworkSize(latents=latents, image_size=image_size, c=1)
    assert weight_shapes(size) == {name: weight.shape for name, weight in weights.items()}
    for slices in (1, 5):
        x = 30 * torch.randn(slices, 1, image_size, image_size)  # a KL that rounding does not shape
        for name in ("kl", "all"):
            assert_terms_equal(load_graph(name, size, weights)(x.numpy(), 0.7), vae, x, 0.7)


def test_the_graph_equals_torch_where_log_sigma_is_clamped():
    vae = random_vae()
    x = torch.full((2, 1, 64, 64), 1000.0)
    assert (vae.encode(x)[1].abs() == 10).any()
    found = score_terms_of(vae)("all")(x.numpy(), 1.0)
    assert list(found) == list(SCORE_TERMS)
    assert_terms_equal(found, vae, x, 1.0)


@pytest.mark.parametrize("name", ["t1", "t2", "flair"])
def test_the_graphs_of_a_shipped_model_equal_torch(name):
    checkpoint = load_checkpoint(find_model(name))
    size = checkpoint.facts.network
    shipped = VAE(latents=size.latents, image_size=size.image_size).requires_grad_(False)
    shipped.load_state_dict({key: torch.from_numpy(value.copy()) for key, value in checkpoint.weights.items()})
    x = torch.from_numpy(np.random.default_rng(2).standard_normal((3, 1, 64, 64)).astype(np.float32))
    for graph in ("kl", "all"):
        assert_terms_equal(ready(checkpoint).score_terms(graph)(x.numpy(), size.c), shipped, x, size.c)


@pytest.mark.full
def test_the_package_data_are_what_their_script_makes():
    pytest.importorskip("onnxscript")
    made = runpy.run_path(str(ROOT / "benchmarks/tools/make_graphs.py"))["graphs"]()
    assert made == {path.stem: path.read_bytes() for path in GRAPHS.iterdir()}


def test_an_exported_onnx_file_gives_the_same_scores(tmp_path):
    onnx = pytest.importorskip("onnx")
    invoke("export", "t1", "-o", tmp_path / "t1.onnx")
    onnx.checker.check_model(tmp_path / "t1.onnx", full_check=True)
    shipped = load_checkpoint(find_model("t1"))
    about = {entry.key: entry.value for entry in onnx.load(tmp_path / "t1.onnx").metadata_props}
    assert about == {"contrast": "t1", "c": "1", "vae_loc_sha256": shipped.digest}
    x = np.random.default_rng(0).standard_normal((2, 1, 64, 64)).astype(np.float32)
    own = ready(shipped).score_terms("all")(x, 1.0)
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
