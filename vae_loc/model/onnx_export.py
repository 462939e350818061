"""The network and the scores, as `vae` defines them in torch -> ONNX graphs that need no torch to run.

Nothing is written twice: autograd is traced through `vae.score_terms`, so that the graphs hold the backward
passes too, as ordinary convolutions. A graph holds no weights; it names them, and they stay the model's.
"""

from __future__ import annotations

import functools
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

from vae_loc.errors import UnusableOption
from vae_loc.model.checkpoint import load_checkpoint
from vae_loc.model.vae import SCORE_TERMS, VAE, score_terms
from vae_loc.system.writing import check_place, refuse_inputs, write_atomically

if TYPE_CHECKING:
    import onnx

OPSET = 20  # of ONNX; onnxruntime 1.17 and newer run it
TRACED_SLICES = 3  # a batch size that no other size of the network equals
aten = torch.ops.aten


def export(model: Path, output: Path) -> None:
    """Write the graph of all five maps, with its weights, as ONNX.

    Raises
    ------
    UnusableOption : if `output` ends otherwise than in .onnx.
    UnusableInput : if it is the model itself.
    """
    if output.suffix != ".onnx":
        raise UnusableOption("-o", f"expected a name ending in .onnx, got {output.name}")
    check_place(output)
    refuse_inputs([output], [model])
    given = load_checkpoint(model)
    facts = given.facts
    about = {"contrast": facts.contrast, "c": f"{facts.network.c:g}", "vae_loc_sha256": given.digest}
    write_atomically(output, with_weights(given.graphs["all"], given.weights, about))


def derived_graphs(latents: int, image_size: int) -> dict[str, bytes]:
    """Return the graphs that a model carries: `all`, and `kl`, which lacks what needs the gradient of Rec."""
    whole = derived_graph(latents, image_size)
    return {"all": whole, "kl": pruned(whole, SCORE_TERMS[:-1])}


@functools.cache
def derived_graph(latents: int, image_size: int) -> bytes:
    """Return the ONNX graph of `score_terms` for networks of one size: (x, c) -> all of `SCORE_TERMS`.

    Its weights are external initializers, named and shaped as those of the VAE.
    """
    model = VAE(latents=latents, image_size=image_size).requires_grad_(False)
    example = torch.zeros(TRACED_SLICES, 1, image_size, image_size), torch.tensor(1.0)
    trace = make_fx(
        partial(score_terms, model), decomposition_table=_PLAIN, tracing_mode="symbolic", _allow_non_fake_inputs=True
    )
    traced = trace(*example)
    traced.graph.eliminate_dead_code()
    traced.recompile()
    with _quiet():
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
    return _bytes(_without_weights(program.model_proto, held))  # type: ignore[union-attr]


def pruned(graph: bytes, terms: Sequence[str]) -> bytes:
    """Return the part of a graph that gives only some of its terms: onnxruntime computes all that is there."""
    import onnx

    whole = onnx.load_model_from_string(graph)
    part = onnx.utils.Extractor(whole).extract_model(["x", "c"], list(terms))
    part.graph.ClearField("value_info")
    return _bytes(part)


def with_weights(graph: bytes, weights: Mapping[str, NDArray[np.float32]], about: Mapping[str, str]) -> bytes:
    """Return a graph that holds its weights, for other programs.

    Parameters
    ----------
    weights : float32, by parameter name, in the shapes that the graph names
    about : becomes the metadata of the graph
    """
    import onnx

    whole = onnx.load_model_from_string(graph)
    for tensor in whole.graph.initializer:
        if tensor.name in weights:
            tensor.CopyFrom(onnx.numpy_helper.from_array(weights[tensor.name], tensor.name))
    onnx.helper.set_model_props(whole, dict(about))
    onnx.checker.check_model(whole)
    return _bytes(whole)


def _without_weights(proto: onnx.ModelProto, held: dict[str, str]) -> onnx.ModelProto:
    """Return the graph, simplified, with its weights under their names in the VAE and their values left out."""
    import onnx
    from onnxscript import optimizer

    given = [tensor for tensor in proto.graph.initializer if tensor.name in held]
    for node in proto.graph.node:
        node.input[:] = [held.get(name, name) for name in node.input]
    for tensor in given:  # as inputs, lest the optimizer bakes in values that are not the model's
        shape = onnx.helper.make_tensor_value_info(held[tensor.name], onnx.TensorProto.FLOAT, tensor.dims)
        proto.graph.input.append(shape)
    kept = [tensor for tensor in proto.graph.initializer if tensor.name not in held]
    del proto.graph.initializer[:]
    proto.graph.initializer.extend(kept)
    plain = optimizer.optimize(proto)
    del plain.graph.input[2:]
    for tensor in given:
        weight = plain.graph.initializer.add(name=held[tensor.name], dims=tensor.dims, data_type=onnx.TensorProto.FLOAT)
        weight.data_location = onnx.TensorProto.EXTERNAL
        weight.external_data.add(key="location", value="weights")
    for message in (plain, plain.graph, *plain.graph.node):
        message.ClearField("metadata_props")
    plain.graph.ClearField("value_info")
    return plain


def _bytes(proto: onnx.ModelProto) -> bytes:
    return bytes(proto.SerializeToString(deterministic=True))


def _convolution_backward(
    gradient: Tensor, x: Tensor, weight: Tensor, bias_sizes: list[int], stride: list[int], padding: list[int],
    dilation: list[int], transposed: bool, output_padding: list[int], groups: int, wanted: list[bool],
) -> tuple[Tensor, None, None]:  # fmt: skip
    """Return the gradient with respect to the input alone: the convolution that is this one's transpose."""
    rest = stride, padding, dilation, not transposed, [0, 0], groups
    return aten.convolution(gradient, weight, None, *rest), None, None


def _leaky_relu_backward(gradient: Tensor, x: Tensor, slope: float, is_result: bool) -> Tensor:
    """Return the gradient times 1 or `slope`, without onnxruntime's slow Where."""
    return gradient * x.sign().clamp(slope, 1.0)


def _power(x: Tensor, exponent: float) -> Tensor:
    """Write squares and their derivatives as products."""
    return x * x if exponent == 2 else x if exponent == 1 else NotImplemented


_PLAIN: dict[torch._ops.OpOverload[..., object], Callable[..., object]] = {
    aten.convolution_backward.default: _convolution_backward,
    aten.leaky_relu_backward.default: _leaky_relu_backward,
    aten.pow.Tensor_Scalar: _power,
}


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's remarks on itself from the user."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
