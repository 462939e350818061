"""Graphs of the network and its scores for onnxruntime: package data, completed with the shapes of one network.

`graphs/kl.pb` and `graphs/all.pb` are serialised GraphProtos of ONNX, made from `vae.score_terms` by
`benchmarks/tools/make_graphs.py`. They lack only what depends on the network's size: weights and shapes of reshapes.
These are appended here, field by field (https://protobuf.dev/programming-guides/encoding). No graph is ever read from
a model file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Literal

import numpy as np

from vae_loc.errors import UnusableOption
from vae_loc.model.checkpoint import load_checkpoint
from vae_loc.model.facts import NetworkSize
from vae_loc.system.onnx_runtime import session
from vae_loc.system.writing import check_place, refuse_inputs, write_atomically
from vae_loc.vocabulary import FloatArray

GraphName = Literal["kl", "all"]  # `kl` lacks the gradient of Rec: onnxruntime computes all that a graph holds
RunGraph = Callable[[FloatArray, float], dict[str, FloatArray]]  # slices (B, 1, H, W), c -> terms by name

GRAPHS = Path(__file__).with_name("graphs")
CHANNELS = (16, 32, 64, 256)  # feature maps of the four strided convolutions, as in the paper
KERNEL = 4  # side of their kernels in pixels
SHRINKAGE = 2 ** len(CHANNELS)  # each strided layer halves H and W
IR_VERSION, OPSET = 10, 20  # of ONNX; onnxruntime 1.17 and newer run them
FLOAT, INT64, EXTERNAL = 1, 7, 1  # TensorProto: two data types, and the place of values that are given apart
VARINT, BYTES = 0, 2  # wire types of protobuf


def weight_shapes(size: NetworkSize) -> dict[str, tuple[int, ...]]:
    """Return the shape of every parameter of the `vae.VAE` of a size, by its name in torch."""
    code = size.image_size // SHRINKAGE
    shapes: dict[str, tuple[int, ...]] = {}
    for layer, (wide, deep) in enumerate(pairwise((1, *CHANNELS))):
        down, up = f"encoder.{2 * layer}", f"decoder.{2 * (len(CHANNELS) - layer)}"
        shapes |= {f"{down}.weight": (deep, wide, KERNEL, KERNEL), f"{down}.bias": (deep,)}
        shapes |= {f"{up}.weight": (deep, wide, KERNEL, KERNEL), f"{up}.bias": (wide,)}
    last, deepest = f"encoder.{2 * len(CHANNELS)}", CHANNELS[-1]
    shapes |= {f"{last}.weight": (2 * size.latents, deepest, code, code), f"{last}.bias": (2 * size.latents,)}
    return shapes | {"decoder.0.weight": (size.latents, deepest, code, code), "decoder.0.bias": (deepest,)}


def size_constants(size: NetworkSize) -> dict[str, tuple[int, ...]]:
    """Return the constants of the graphs that depend on the size, int64 vectors, by their names in the package data."""
    code = size.image_size // SHRINKAGE
    features = CHANNELS[-1] * code**2
    return {
        "latents": (size.latents,),
        "features": (features,),
        "to_code": (-1, CHANNELS[-1], code, code),
        "to_features": (-1, features),
        "to_slices": (-1, 1, size.image_size, size.image_size),
        "encoder_matrix": (2 * size.latents, features),
        "decoder_matrix": (size.latents, features),
    }


def onnx_model(
    name: GraphName,
    size: NetworkSize,
    *,
    weights: Mapping[str, FloatArray] | None = None,
    about: Mapping[str, str] | None = None,
) -> bytes:
    """Return an ONNX model of the slices float32 (B, 1, H, W) and c to the terms of `vae.SCORE_TERMS`.

    Parameters
    ----------
    weights : float32, by parameter name, which the model then holds; None leaves them to `onnx_runtime.session`
    about : metadata of the model
    """
    graph = (GRAPHS / f"{name}.pb").read_bytes()
    for constant, shape in size_constants(size).items():
        graph += _initializer(constant, (len(shape),), INT64, np.array(shape, dtype="<i8").tobytes())
    for weight, shape in weight_shapes(size).items():
        values = None if weights is None else weights[weight].astype("<f4", copy=False).tobytes()
        graph += _initializer(weight, shape, FLOAT, values)
    entries = b"".join(_field(14, _field(1, key) + _field(2, text)) for key, text in (about or {}).items())
    return _field(1, IR_VERSION) + _field(2, "vae-loc") + _field(7, graph) + _field(8, _field(2, OPSET)) + entries


def load_graph(name: GraphName, size: NetworkSize, weights: Mapping[str, FloatArray]) -> RunGraph:
    """Return the function that runs a graph on the CPU: slices float32 (B, 1, H, W) and c -> the terms by name.

    Parameters
    ----------
    weights : float32, by parameter name, of the shapes of `weight_shapes`; onnxruntime does not copy them
    """
    loaded = session(onnx_model(name, size), weights)
    terms = [output.name for output in loaded.get_outputs()]

    def run(x: FloatArray, c: float, _: object = weights) -> dict[str, FloatArray]:
        return dict(zip(terms, loaded.run(None, {"x": x, "c": np.array(c, dtype=np.float32)}), strict=True))

    return run


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
    size = given.facts.network
    about = {"contrast": given.facts.contrast, "c": f"{size.c:g}", "vae_loc_sha256": given.digest}
    write_atomically(output, onnx_model("all", size, weights=given.weights, about=about))


def _initializer(name: str, shape: tuple[int, ...], kind: int, values: bytes | None) -> bytes:
    """Return a constant as a field of a GraphProto; without values it names those that are given apart."""
    apart = _field(13, _field(1, "location") + _field(2, "weights")) + _field(14, EXTERNAL)
    dims = b"".join(_field(1, side) for side in shape)
    return _field(5, dims + _field(2, kind) + _field(8, name) + (apart if values is None else _field(9, values)))


def _field(number: int, content: int | str | bytes) -> bytes:
    """Return a field of a protobuf message: a number, or text or bytes behind their length."""
    if isinstance(content, int):
        return _varint(number << 3 | VARINT) + _varint(content)
    raw = content.encode() if isinstance(content, str) else content
    return _varint(number << 3 | BYTES) + _varint(len(raw)) + raw


def _varint(value: int) -> bytes:
    """Return a number of at least 0 as protobuf writes it: seven bits in each byte, the lowest first."""
    low, rest = value & 127, value >> 7
    return bytes([low | 128]) + _varint(rest) if rest else bytes([low])
