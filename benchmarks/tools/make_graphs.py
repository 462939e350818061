"""Make the package data `vae_loc/model/graphs/*.pb`: the ONNX graphs of the network and its scores, for every size.

    pip install '.[graphs]'
    python -m benchmarks.tools.make_graphs

The network and its terms are written once, in `vae_loc/model/vae.py`. Autograd is traced through `vae.score_terms`, so
that the graphs hold the backward passes too, as ordinary convolutions. `vae_loc/model/graph.py` adds weights and
shapes.
"""

from __future__ import annotations

import itertools
import logging
import warnings
from collections.abc import Callable
from functools import partial

import onnx
import torch
from onnx import numpy_helper
from onnxscript import optimizer
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

from vae_loc.model.facts import NetworkSize
from vae_loc.model.graph import GRAPHS, OPSET, size_constants, weight_shapes
from vae_loc.model.vae import SCORE_TERMS, VAE, score_terms

TERMS = {"kl": SCORE_TERMS[:-1], "all": SCORE_TERMS}  # what each graph gives, in order
SIZE = NetworkSize(latents=96, image_size=64, c=1)  # no two of its constants are alike
TRACED_SLICES = 3  # a batch size that no other size of the network equals
aten = torch.ops.aten


def graphs() -> dict[str, bytes]:
    """Return the graphs by name, serialised GraphProtos."""
    model = derived(SIZE)
    return {name: without_size(part_of(model, terms)) for name, terms in TERMS.items()}


def derived(size: NetworkSize) -> onnx.ModelProto:
    """Return the ONNX model of `score_terms` for networks of one size: (x, c) -> all of `SCORE_TERMS`.

    Its weights are inputs, named as those of the VAE.
    """
    model = VAE(latents=size.latents, image_size=size.image_size).requires_grad_(False)
    example = torch.zeros(TRACED_SLICES, 1, size.image_size, size.image_size), torch.tensor(1.0)
    trace = make_fx(
        partial(score_terms, model), decomposition_table=PLAIN, tracing_mode="symbolic", _allow_non_fake_inputs=True
    )
    traced = trace(*example)
    traced.graph.eliminate_dead_code()
    traced.recompile()
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            traced,
            example,
            input_names=["x", "c"],
            output_names=list(SCORE_TERMS),
            dynamic_shapes=({0: torch.export.Dim("slices")}, None),
            dynamo=True,
            opset_version=OPSET,
            optimize=False,
            verbose=False,
        )
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    held = {name: names[id(value)] for name, value in traced.named_parameters() if id(value) in names}
    return optimizer.optimize(with_weights_as_inputs(program.model_proto, held))


def with_weights_as_inputs(proto: onnx.ModelProto, held: dict[str, str]) -> onnx.ModelProto:
    """Return a model whose weights are inputs, lest the optimizer bakes in values that are no model's."""
    for node in proto.graph.node:
        node.input[:] = [held.get(name, name) for name in node.input]
    kept = []
    for tensor in proto.graph.initializer:
        if tensor.name in held:
            shape = onnx.helper.make_tensor_value_info(held[tensor.name], onnx.TensorProto.FLOAT, tensor.dims)
            proto.graph.input.append(shape)
        else:
            kept.append(tensor)
    del proto.graph.initializer[:]
    proto.graph.initializer.extend(kept)
    return proto


def part_of(model: onnx.ModelProto, terms: tuple[str, ...]) -> onnx.GraphProto:
    """Return the part of a model's graph that gives some of its terms."""
    inputs = [value.name for value in model.graph.input]
    return onnx.utils.Extractor(model).extract_model(inputs, list(terms)).graph


def without_size(graph: onnx.GraphProto) -> bytes:
    """Return a graph without weights and the constants of its size, whose values have numbers for names."""
    known = {value: name for name, value in size_constants(SIZE).items()}
    numbers = itertools.count()
    names = {name: name for name in ("", "x", "c", *weight_shapes(SIZE), *(value.name for value in graph.output))}
    kept = []
    for tensor in graph.initializer:
        value = tuple(numpy_helper.to_array(tensor).ravel().tolist())
        names[tensor.name] = known.get(value) or f"v{next(numbers)}"
        tensor.name = names[tensor.name]
        kept += [] if value in known else [tensor]
    for node in graph.node:
        names |= {name: f"v{next(numbers)}" for name in node.output if name not in names}
        node.input[:], node.output[:] = ([names[name] for name in side] for side in (node.input, node.output))
        for field in ("name", "doc_string", "metadata_props"):
            node.ClearField(field)
    bare = onnx.GraphProto(name="score_terms", node=graph.node, initializer=kept)
    bare.input.extend(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape_of(name)) for name in "xc")
    bare.output.extend(
        onnx.helper.make_tensor_value_info(value.name, onnx.TensorProto.FLOAT, shape_of(value.name))
        for value in graph.output
    )
    return bare.SerializeToString(deterministic=True)


def shape_of(name: str) -> list[str | int]:
    """Return the shape of an input or output, with names for what depends on batch and size."""
    return [] if name == "c" else ["slices"] if name in ("kl", "rec") else ["slices", 1, "rows", "columns"]


def convolution_backward(
    gradient: Tensor, x: Tensor, weight: Tensor, bias_sizes: list[int], stride: list[int], padding: list[int],
    dilation: list[int], transposed: bool, output_padding: list[int], groups: int, wanted: list[bool],
) -> tuple[Tensor, None, None]:  # fmt: skip
    """Return the gradient with respect to the input alone: the transposed convolution."""
    rest = stride, padding, dilation, not transposed, [0, 0], groups
    return aten.convolution(gradient, weight, None, *rest), None, None


def leaky_relu_backward(gradient: Tensor, x: Tensor, slope: float, is_result: bool) -> Tensor:
    """Return the gradient times 1 or `slope`, without onnxruntime's slow Where."""
    return gradient * x.sign().clamp(slope, 1.0)


def power(x: Tensor, exponent: float) -> Tensor:
    """Return squares and their derivatives as products."""
    return x * x if exponent == 2 else x if exponent == 1 else NotImplemented


PLAIN: dict[object, Callable[..., object]] = {
    aten.convolution_backward.default: convolution_backward,
    aten.leaky_relu_backward.default: leaky_relu_backward,
    aten.pow.Tensor_Scalar: power,
}


def main() -> None:
    """Write the package data."""
    for name, graph in graphs().items():
        (GRAPHS / f"{name}.pb").write_bytes(graph)


if __name__ == "__main__":
    main()
