"""A graph in a model is one of ours, or it is refused before onnxruntime sees it."""

import contextlib
import shutil

import numpy as np
import onnx
import pytest
from typer.testing import CliRunner

from vae_loc.cli.app import app
from vae_loc.errors import OutOfMemory, UnusableModel
from vae_loc.model.checkpoint import load_checkpoint
from vae_loc.model.onnx_graph import OPERATORS, check_graph, load_graph
from vae_loc.model.shipped import find_model


@pytest.fixture(scope="module")
def shipped():
    return load_checkpoint(find_model("t1"))


def loop(proto):
    node = onnx.helper.make_node("Loop", ["", "", "x"], ["endless"], body=proto.graph)
    proto.graph.node.append(node)


def other_file(proto):
    tensor = proto.graph.initializer.add(name="stolen", dims=[4], data_type=1, data_location=1)
    tensor.external_data.add(key="location", value="/etc/passwd")


def foreign_domain(proto):
    proto.graph.node[0].domain = "com.example"


def function(proto):
    proto.functions.add(name="f", domain="")


def nested(proto):
    proto.graph.node[0].attribute.append(onnx.helper.make_attribute("body", proto.graph))


def sparse(proto):
    proto.graph.sparse_initializer.add()


def other_shape(proto):
    next(tensor for tensor in proto.graph.initializer if tensor.data_location).dims[0] += 1


def half_external(proto):
    proto.graph.initializer[0].external_data.add(key="location", value="/etc/passwd")


@pytest.mark.parametrize(
    "spoil", [loop, other_file, foreign_domain, function, nested, sparse, other_shape, half_external]
)
def test_a_hostile_graph_is_refused(shipped, spoil):
    proto = onnx.load_model_from_string(shipped.graphs["kl"])
    spoil(proto)
    with pytest.raises(UnusableModel):
        check_graph(proto.SerializeToString(), shipped.weights, "hostile")


def test_mutated_graphs_are_refused_or_run(shipped):
    rng = np.random.default_rng(0)
    x = np.zeros((1, 1, 64, 64), dtype=np.float32)
    for _ in range(60):
        raw = bytearray(shipped.graphs["kl"])
        for place in rng.integers(len(raw), size=rng.integers(1, 4)):
            raw[place] = rng.integers(256)
        with contextlib.suppress(UnusableModel, OutOfMemory):
            load_graph(bytes(raw[: rng.integers(len(raw) // 2, 2 * len(raw))]), shipped.weights, "mutant")(x, 1.0)


def test_the_operators_allowed_are_those_used(shipped):
    used = {node.op_type for node in onnx.load_model_from_string(shipped.graphs["all"]).graph.node}
    assert used <= OPERATORS


def test_an_exported_onnx_file_gives_the_same_scores(shipped, tmp_path):
    result = CliRunner().invoke(app, ["export", "t1", "-o", str(tmp_path / "t1.onnx")])
    assert result.exit_code == 0, result.output
    x = np.random.default_rng(0).standard_normal((2, 1, 64, 64)).astype(np.float32)
    own = load_graph(shipped.graphs["all"], shipped.weights, "t1")(x, 1.0)
    import onnxruntime  # after the package's own import, which turns its telemetry off

    session = onnxruntime.InferenceSession(tmp_path / "t1.onnx", providers=["CPUExecutionProvider"])
    found = session.run(None, {"x": x, "c": np.array(1, np.float32)})
    for value, expected in zip(found, own.values(), strict=True):
        np.testing.assert_allclose(value, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("name", ["model.safetensors", "model.onnx"])
def test_export_never_overwrites_its_model(tmp_path, name):
    path = tmp_path / name
    shutil.copy(find_model("t1"), path)
    assert CliRunner().invoke(app, ["export", str(path), "-o", str(path)]).exit_code != 0
    assert path.read_bytes() == find_model("t1").read_bytes()
