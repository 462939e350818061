"""A graph in a model is one of ours, or it is refused before onnxruntime sees it; ours equals torch."""

import numpy as np
import onnx
import pytest

from vae_loc.errors import UnusableModel
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


def mutants(raw, rng, *, count, cut):
    """Yield copies of a graph with one to three bytes changed and, where `cut`, perhaps without their end."""
    for _ in range(count):
        changed = bytearray(raw)
        for place in rng.integers(len(raw), size=rng.integers(1, 4)):
            changed[place] = rng.integers(256)
        yield bytes(changed[: rng.integers(len(raw) // 2, 2 * len(raw))] if cut else changed)


def outputs_of(graph, weights, x):
    """What a graph gives for slices; None if it is refused."""
    try:
        return load_graph(graph, weights, "mutant")(x, 1.0)
    except UnusableModel:
        return None


@pytest.mark.parametrize("name", ["kl", "all"])
@pytest.mark.parametrize("cut", [False, True])
def test_a_mutated_graph_is_refused_or_gives_finite_outputs_of_the_right_names_and_shapes(shipped, name, cut):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 1, 64, 64)).astype(np.float32)
    expected = load_graph(shipped.graphs[name], shipped.weights, "whole")(x, 1.0)
    found = [
        outputs_of(mutant, shipped.weights, x) for mutant in mutants(shipped.graphs[name], rng, count=150, cut=cut)
    ]
    ran = [outputs for outputs in found if outputs is not None]
    assert 0 < len(ran) < len(found)
    for outputs in ran:
        assert list(outputs) == list(expected)
        for term, values in outputs.items():
            assert (values.shape, values.dtype) == (expected[term].shape, expected[term].dtype)
            assert np.isfinite(values).all()


def test_the_operators_allowed_are_those_used(shipped):
    used = {node.op_type for node in onnx.load_model_from_string(shipped.graphs["all"]).graph.node}
    assert used <= OPERATORS
