"""A graph in a model is one of ours, or it is refused before onnxruntime sees it; ours equals torch."""

import resource
import time

import numpy as np
import onnx
import pytest

from vae_loc.errors import OutOfMemory, UnusableModel
from vae_loc.model.checkpoint import load_checkpoint
from vae_loc.model.onnx_graph import OPERATORS, TERMS, check_graph, load_graph
from vae_loc.model.shipped import find_model
from vae_loc.system import onnx_runtime


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


def no_output(proto):
    del proto.graph.output[:]


def one_output_less(proto):
    del proto.graph.output[-1]


def outputs_in_another_order(proto):
    first = onnx.ValueInfoProto()
    first.CopyFrom(proto.graph.output[0])
    proto.graph.output[0].CopyFrom(proto.graph.output[1])
    proto.graph.output[1].CopyFrom(first)


def another_input(proto):
    proto.graph.input.add(name="y")


def growing_constant(proto):
    size = onnx.numpy_helper.from_array(np.array([1 << 30]), "size")
    one = onnx.numpy_helper.from_array(np.ones(1, np.float32), "one")
    proto.graph.initializer.extend([size, one])
    proto.graph.node.append(onnx.helper.make_node("Expand", ["one", "size"], ["huge"]))


def many_nodes(proto):
    for number in range(600):
        proto.graph.node.append(onnx.helper.make_node("Neg", ["x"], [f"n{number}"]))


@pytest.mark.parametrize(
    "spoil",
    [loop, other_file, foreign_domain, function, nested, sparse, other_shape, half_external, no_output,
     one_output_less, outputs_in_another_order, another_input, growing_constant, many_nodes],
)  # fmt: skip
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


def grown(graph, doublings):
    """A graph of the right names whose residual is made by way of 2^n copies of the slices."""
    proto = onnx.load_model_from_string(graph)
    last = "x"
    for number in range(doublings):
        proto.graph.node.append(onnx.helper.make_node("Concat", [last, last], [f"grown{number}"], axis=0))
        last = f"grown{number}"
    return proto.SerializeToString()


def test_a_run_that_would_take_gigabytes_is_refused(shipped):
    """16 slices of 64 x 64, doubled 16 times: 17 GB."""
    graph = grown(shipped.graphs["kl"], 16)
    check_graph(graph, shipped.weights, "hostile", TERMS["kl"])
    proto = onnx.load_model_from_string(graph)
    proto.graph.output[0].CopyFrom(onnx.helper.make_tensor_value_info("grown15", 1, None))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises((UnusableModel, OutOfMemory)):
        load_graph(proto.SerializeToString(), shipped.weights, "hostile")(np.zeros((16, 1, 64, 64), np.float32), 1.0)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 4_000_000


def test_a_run_that_takes_too_long_is_ended(shipped, monkeypatch):
    monkeypatch.setattr(onnx_runtime, "MAX_RUN_S", 0.2)
    proto = onnx.load_model_from_string(shipped.graphs["kl"])
    last = "x"
    for number in range(400):
        proto.graph.node.append(onnx.helper.make_node("Exp", [last], [f"slow{number}"]))
        last = f"slow{number}"
    proto.graph.output.add(name=last)
    run = load_graph(proto.SerializeToString(), shipped.weights, "slow")
    began = time.perf_counter()
    with pytest.raises(UnusableModel):
        run(np.zeros((512, 1, 64, 64), np.float32), 1.0)
    assert time.perf_counter() - began < 5


def test_outputs_of_another_shape_are_refused(shipped):
    proto = onnx.load_model_from_string(shipped.graphs["kl"])
    for node in proto.graph.node:
        node.output[:] = ["flat" if name == "residual" else name for name in node.output]
        node.input[:] = ["flat" if name == "residual" else name for name in node.input]
    proto.graph.node.append(onnx.helper.make_node("Transpose", ["flat"], ["residual"], perm=[1, 0, 2, 3]))
    run = load_graph(proto.SerializeToString(), shipped.weights, "hostile")
    with pytest.raises(UnusableModel):
        run(np.zeros((3, 1, 64, 64), np.float32), 1.0)
