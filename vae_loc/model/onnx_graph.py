"""An ONNX graph and its weights -> a function that runs it, without torch.

A graph comes inside a model, and a model may be hostile. So before onnxruntime sees it, its bytes are
walked: only the operators that `onnx_export` makes, nothing nested, no file named but the weights' place holder.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from vae_loc.errors import OutOfMemory, UnusableModel, is_out_of_memory
from vae_loc.system.onnx_runtime import bounded_run, bounded_session, graph_faults
from vae_loc.vocabulary import FloatArray

RunGraph = Callable[[FloatArray, float], dict[str, FloatArray]]  # slices (B, 1, H, W), c -> terms by name

OPERATORS = frozenset({
    "Add", "And", "Clip", "Concat", "Conv", "ConvTranspose", "Div", "Exp", "Expand", "GreaterOrEqual", "Identity",
    "LeakyRelu", "LessOrEqual", "MatMul", "Mul", "Neg", "ReduceSum", "Reshape", "Shape", "Sign", "Split", "Squeeze",
    "Sub", "Transpose", "Unsqueeze", "Where",
})  # fmt: skip
# field numbers of onnx.proto, of which a graph of ours has no others
MODEL = {"ir_version": 1, "producer_name": 2, "producer_version": 3, "graph": 7, "opset_import": 8}
GRAPH = {"node": 1, "name": 2, "initializer": 5, "input": 11, "output": 12}
NODE = {"input": 1, "output": 2, "name": 3, "op_type": 4, "attribute": 5, "domain": 7}
ATTRIBUTE = {"name": 1, "f": 2, "i": 3, "s": 4, "ints": 8, "type": 20}
TENSOR = {
    "dims": 1,
    "data_type": 2,
    "int64_data": 7,
    "name": 8,
    "raw_data": 9,
    "external_data": 13,
    "data_location": 14,
}
VALUE = {"name": 1, "type": 2, "doc_string": 3, "metadata_props": 4}  # of an input or output
TERMS = {
    "kl": ("residual", "kl", "rec", "kl-gradient"),
    "all": ("residual", "kl", "rec", "kl-gradient", "rec-gradient"),
}  # what each graph gives, in order
INPUTS = ("x", "c")
PER_SLICE = ("kl", "rec")  # one number for each slice; the others have the shape of the slices
# what keeps the size of a constant: onnxruntime makes constants when it loads a graph, before any bound holds
SIZE_KEPT = frozenset({"Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze"})
MAX_NODES = 500  # ours have 118
MAX_GRAPH_BYTES = 1_000_000  # ours have 13 kB
MAX_ATTRIBUTE = 64  # kernels, strides, pads and axes of ours are below 8; larger ones only cost time and memory
EXTERNAL = 1  # a tensor's data_location: its values are given when the graph is loaded
VARINT, BYTES, FIXED_32 = 0, 2, 5  # wire types of protobuf
Message = dict[str, list[int | bytes]]


def load_graph(graph: bytes, weights: Mapping[str, FloatArray], name: str | Path) -> RunGraph:
    """Return what runs a graph on the CPU: slices float32 (B, 1, H, W) and c -> the terms by name.

    What a run may allocate, and how long it may take, is bounded (`onnx_runtime`).

    Parameters
    ----------
    weights : float32, by parameter name; onnxruntime does not copy them

    Raises
    ------
    UnusableModel : naming the model, if onnxruntime refuses the graph. Of a file, `check_graph` must have passed it.
    """
    with _refused(name):
        loaded = bounded_session(graph, weights)
        names = [output.name for output in loaded.get_outputs()]

    def run(x: FloatArray, c: float, _: object = weights) -> dict[str, FloatArray]:
        with _refused(name):
            found = bounded_run(loaded, {"x": x, "c": np.array(c, dtype=np.float32)})
            terms = dict(zip(names, found, strict=True))
            if any(value.shape != (x.shape[:1] if term in PER_SLICE else x.shape) for term, value in terms.items()):
                raise ValueError("shape")
        return terms

    return run


@contextmanager
def _refused(name: str | Path) -> Iterator[None]:
    """Turn what onnxruntime finds wrong with a graph into our own refusal."""
    faults: tuple[type[Exception], ...] = (*graph_faults(), ValueError)
    try:
        yield
    except faults as error:
        raise OutOfMemory() if is_out_of_memory(error) else _foreign(name) from error


def check_graph(graph: bytes, weights: Mapping[str, FloatArray], name: str | Path, terms: Sequence[str] = ()) -> None:
    """Refuse a graph that `onnx_export` would not make for these weights; nothing of it is run or allocated.

    Parameters
    ----------
    terms : the outputs that it must have, in order; those of any graph of ours if empty

    Raises
    ------
    UnusableModel : as `load_graph`.
    """
    try:
        if len(graph) > MAX_GRAPH_BYTES:
            raise ValueError("size")
        model = _message(graph, MODEL)
        if any(opset["domain"] not in ([], [b""]) for opset in _messages(model["opset_import"], {"domain": 1, "v": 2})):
            raise ValueError("domain")
        (body,) = _messages(model["graph"], GRAPH)
        _check_names(body, terms)
        _check_nodes(body)
        shapes = dict(_given(tensor) for tensor in _messages(body["initializer"], TENSOR) if _is_external(tensor))
    except (ValueError, IndexError, UnicodeDecodeError) as error:
        raise _foreign(name) from error
    if shapes != {key: value.shape for key, value in weights.items()}:
        odd = sorted(shapes.items() ^ {(key, value.shape) for key, value in weights.items()})
        raise UnusableModel(
            name, f"its tensors do not fit its graph ({len(odd)} differ, first {odd[0][0]}); fetch it again"
        )


def _check_names(body: Message, terms: Sequence[str]) -> None:
    given, made = ([_text(value["name"]) for value in _messages(body[kind], VALUE)] for kind in ("input", "output"))
    if tuple(given) != INPUTS or tuple(made) not in ([tuple(terms)] if terms else TERMS.values()):
        raise ValueError("inputs or outputs")


def _check_nodes(body: Message) -> None:
    """Refuse operators that are not ours, large attributes, and constants that grow."""
    constants = {_text(tensor["name"]) for tensor in _messages(body["initializer"], TENSOR)}
    if len(body["node"]) > MAX_NODES:
        raise ValueError("nodes")
    for node in _messages(body["node"], NODE):
        kind = _text(node["op_type"])
        if kind not in OPERATORS or b"".join(node["domain"]):  # type: ignore[arg-type]
            raise ValueError("operator")
        for attribute in _messages(node["attribute"], ATTRIBUTE):
            if max(_numbers(attribute["i"] + attribute["ints"]), default=0) > MAX_ATTRIBUTE:
                raise ValueError("attribute")
        if all(name in constants for name in map(_decoded, node["input"]) if name):
            if kind not in SIZE_KEPT:
                raise ValueError("constant")
            constants.update(map(_decoded, node["output"]))


def _text(values: list[int | bytes]) -> str:
    (value,) = values
    return _decoded(value)


def _decoded(value: int | bytes) -> str:
    if isinstance(value, int):
        raise ValueError("wire type")
    return value.decode()


def _is_external(tensor: Message) -> bool:
    if tensor["external_data"] and tensor["data_location"] != [EXTERNAL]:
        raise ValueError("external")
    return tensor["data_location"] == [EXTERNAL]


def _given(tensor: Message) -> tuple[str, tuple[int, ...]]:
    """Return name and shape of a tensor whose values are not in the graph."""
    return _text(tensor["name"]), tuple(_numbers(tensor["dims"]))


def _messages(values: list[int | bytes], known: Mapping[str, int]) -> Iterator[Message]:
    for value in values:
        if isinstance(value, int):
            raise ValueError("wire type")
        yield _message(value, known)


def _message(raw: bytes, known: Mapping[str, int]) -> Message:
    """Return the fields of a protobuf message by name; any that is not `known` is a ValueError."""
    names = {number: name for name, number in known.items()}
    fields: Message = {name: [] for name in known}
    at = 0
    while at < len(raw):
        key, at = _varint(raw, at)
        if key >> 3 not in names:
            raise ValueError("field")
        value: int | bytes
        if key & 7 == VARINT:
            value, at = _varint(raw, at)
        elif key & 7 == BYTES:
            size, at = _varint(raw, at)
            value, at = raw[at : at + size], at + size
        elif key & 7 == FIXED_32:
            value, at = raw[at : at + 4], at + 4
        else:
            raise ValueError("wire type")
        fields[names[key >> 3]].append(value)
    if at != len(raw):
        raise ValueError("cut off")
    return fields


def _numbers(values: list[int | bytes]) -> list[int]:
    """Return a repeated field's numbers, whether they stand alone or packed."""
    numbers: list[int] = []
    for value in values:
        at = 0
        while not isinstance(value, int) and at < len(value):
            number, at = _varint(value, at)
            numbers.append(number)
        numbers += [value] if isinstance(value, int) else []
    return numbers


def _varint(raw: bytes, at: int) -> tuple[int, int]:
    """Return the number that begins at a byte, seven bits a byte, and where it ends."""
    number = shift = 0
    while True:
        byte = raw[at]
        number |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return number, at
        if shift > 63:
            raise ValueError("varint")


def _foreign(name: str | Path) -> UnusableModel:
    return UnusableModel(name, "its graph is damaged, or not one that vae-loc makes; fetch or export it again")
