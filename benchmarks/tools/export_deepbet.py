"""deepbet's networks (TorchScript, in its wheel) -> the ONNX files that vae-loc carries, five for each network.

    pip install --no-deps deepbet==1.0.2 && python -m benchmarks.tools.export_deepbet

The first layer, half of the work of a network, has a file of its own, so that it can run by slabs:

- Its input is half as fine along each axis, and the convolution of 7x7x7 with a stride of 2 becomes one of 5x5x5, as if
  the input were interpolated linearly to the network's own grid.
- Its input is a stack of planes, and five planes are the channels of a convolution in 2D, which onnxruntime runs twice
  as fast as one in 3D.
- Normalisation and ReLU do not change which voxel is the greatest. So the pooling along a plane comes before them,
  and the graph returns the sums that the normalisation of all slabs needs.

The last layers, whose values are the finest, run by slabs too and have three files. The widening to the finest voxels
becomes a convolution to 8 channels for each, the voxels of a block; the two classes' logits become their difference, and
the softmax is left out. Weights are rounded to 16 bits.
"""

from __future__ import annotations

import itertools
import tempfile
import warnings
from importlib.metadata import distribution
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

from benchmarks.command import parser_of

FOLDER = Path(__file__).parents[2] / "vae_loc" / "preprocessing" / "deepbet"
NETWORKS = {"box": ("bbox_model", 128), "brain": ("model", 256)}  # name -> file in the wheel, side of its input
SMALL = 64  # tensors of fewer numbers stay 32 bits
OPSET = 17
TAPS = 5  # planes of the half as fine input that 7 planes of the network's own lie between


def exported(name: str, side: int) -> onnx.ModelProto:
    """Return a network of the wheel as ONNX."""
    network = torch.jit.load(distribution("deepbet").locate_file(f"data/models/{name}.pt"), map_location="cpu").eval()
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/network.onnx"
        example = torch.zeros(1, 1, side, side, side)
        torch.onnx.export(
            network, (example,), path, input_names=["x"], output_names=["p"], dynamo=False, opset_version=OPSET
        )
        return onnx.load(path)


def graph_of(name: str, nodes: list, inputs: dict, outputs: dict, tensors: dict[str, np.ndarray]) -> onnx.ModelProto:
    """Return a model of nodes; inputs and outputs are names and shapes, float32."""
    ends = [
        [helper.make_tensor_value_info(key, TensorProto.FLOAT, shape) for key, shape in of.items()]
        for of in (inputs, outputs)
    ]
    stored = [numpy_helper.from_array(np.ascontiguousarray(values), key) for key, values in tensors.items()]
    graph = helper.make_graph(nodes, name, ends[0], ends[1], stored)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)


def interpolating() -> np.ndarray:
    """Return the matrix (7, 5) from five coarse voxels to seven fine ones between them, linearly."""
    fine = (np.arange(-3, 4) - 0.5) / 2  # in coarse voxels from the middle one, whose first half is the middle fine one
    return np.maximum(0, 1 - np.abs(fine[:, None] - np.arange(-2, 3)))


def first_layer(weight: np.ndarray) -> onnx.ModelProto:
    """Return the graph of slabs: planes (P + 4, H, W) -> pooled (P, C, H/2, W/2), and per channel sum and squares."""
    between = interpolating()
    coarse = np.einsum("cijk,ia,jb,kd->cabd", weight[:, 0].astype(np.float64), between, between, between)
    tensors = {"weight": coarse.astype(np.float32), "axis": np.array([0]), "channel": np.array([1])}
    nodes, parts = [], []
    for tap in range(TAPS):
        tensors |= {f"from{tap}": np.array([tap]), f"to{tap}": np.array([tap - TAPS + 1 or np.iinfo(np.int64).max])}
        nodes += [
            helper.make_node("Slice", ["planes", f"from{tap}", f"to{tap}", "axis"], [f"shifted{tap}"]),
            helper.make_node("Unsqueeze", [f"shifted{tap}", "channel"], [f"part{tap}"]),
        ]
        parts.append(f"part{tap}")
    nodes += [
        helper.make_node("Concat", parts, ["stack"], axis=1),
        helper.make_node("Conv", ["stack", "weight"], ["y"], kernel_shape=[TAPS, TAPS], pads=[TAPS // 2] * 4),
        helper.make_node("MaxPool", ["y"], ["pooled"], kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4),
        helper.make_node("ReduceSum", ["y", "others"], ["sum"], keepdims=0),
        helper.make_node("ReduceSumSquare", ["y"], ["squares"], axes=[0, 2, 3], keepdims=0),
    ]
    tensors["others"] = np.array([0, 2, 3])
    outputs = {"pooled": ["P", len(weight), "h", "w"], "sum": [len(weight)], "squares": [len(weight)]}
    return graph_of("first_layer", nodes, {"planes": ["p", "H", "W"]}, outputs, tensors)


def as_convolution(weight: np.ndarray) -> np.ndarray:
    """Return a transposed convolution of 3x3x3 with a stride of 2, weight (I, O, 3, 3, 3), as one of 2x2x2 voxels.

    Its output channels are (O, 2, 2, 2): each channel at the eight fine voxels of a coarse one.
    """
    taps = {(0, 0): 1, (1, 0): 2, (1, 1): 0}  # fine voxel, coarse neighbour -> tap
    inputs, outputs = weight.shape[:2]
    result = np.zeros((outputs, 2, 2, 2, inputs, 2, 2, 2), dtype=weight.dtype)
    for (i, a), (j, b), (k, c) in itertools.product(taps, repeat=3):
        result[:, i, j, k, :, a, b, c] = weight[:, :, taps[i, a], taps[j, b], taps[k, c]].T
    return result.reshape(8 * outputs, inputs, 2, 2, 2)


def parts(model: onnx.ModelProto) -> dict[str, onnx.ModelProto]:
    """Return the network behind its first pooling, in four parts.

    - "": x (1, C, d, h, w) -> coarse (1, C, d, h, w)
    - "_blocks": coarse (1, C, p + 1, h, w) -> blocks of 2x2x2 voxels (1, 8 c, p, h, w)
    - "_fine": blocks, normalised (1, 8 c, p + 2, h, w) -> values (1, c, 2 p, 2 h, 2 w)
    - "_last": values, normalised (1, c, P, H, W) -> brain, bool (2 P, 2 H, 2 W)

    `_blocks` and `_fine` also give the sum and the sum of squares of each channel.
    """
    graph = model.graph
    tensors = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    pool = next(node for node in graph.node if node.op_type == "MaxPool")
    widening, last = [node for node in graph.node if node.op_type == "ConvTranspose"][-2:]
    fine = [node for node in graph.node if node.op_type == "Conv"][-1]
    # up to the widening
    nodes = list(graph.node)
    first, end = nodes.index(pool) + 1, nodes.index(widening)
    middle = nodes[first:end]
    for node in middle:
        node.input[:] = ["x" if name == pool.output[0] else name for name in node.input]
        strides = next((list(of.ints) for of in node.attribute if of.name == "strides"), [])
        if node.op_type == "ConvTranspose" and strides == [1, 1, 1]:
            # the same as a convolution by the mirrored weights, which needs a tenth of the memory
            node.op_type = "Conv"
            tensors[node.input[1]] = tensors[node.input[1]].swapaxes(0, 1)[:, :, ::-1, ::-1, ::-1]
    used = {name for node in middle for name in node.input}
    constants = [node for node in nodes[:first] if node.op_type == "Constant" and node.output[0] in used]
    kept = {name: values for name, values in tensors.items() if name in used}
    ends = {"x": [1, 16, "d", "h", "w"]}, {widening.input[0]: [1, 16, "d", "h", "w"]}
    weight, bias = (tensors[name] for name in widening.input[1:3])
    channels, slab = len(bias), {"x": [1, len(weight), "p", "h", "w"]}
    to_blocks = convolution("x", as_convolution(weight), np.repeat(bias, 8), [0, 0, 0, 0, 1, 1])
    nodes, own = apart(channels, "x", "voxels")
    own |= {"from": np.array([1]), "to": np.array([-1]), "axis": np.array([2])}
    nodes.append(helper.make_node("Slice", ["voxels", "from", "to", "axis"], ["needed"]))
    to_fine = convolution("needed", tensors[fine.input[1]], tensors[fine.input[2]], [0, 1, 1, 0, 1, 1])
    blocks = {"x": [1, 8 * channels, "p", "h", "w"]}
    return {
        "": graph_of("middle", constants + middle, *ends, kept),
        "_blocks": graph_of("blocks", to_blocks[0], slab, with_sums(8 * channels), to_blocks[1]),
        "_fine": graph_of("fine", nodes + to_fine[0], blocks, with_sums(channels), own | to_fine[1]),
        "_last": last_layer(*(tensors[name] for name in last.input[1:3])),
    }


def with_sums(channels: int) -> dict[str, list]:
    """Return the outputs of a slab, with the sums of each channel and of its squares."""
    return {"y": [1, channels, "P", "H", "W"], "sum": [channels], "squares": [channels]}


def convolution(x: str, weight: np.ndarray, bias: np.ndarray, pads: list[int]) -> tuple[list, dict[str, np.ndarray]]:
    """Return nodes from x (1, C, p, h, w) to its convolution y and the sums of that, and their tensors."""
    nodes = [
        helper.make_node("Conv", [x, "weight", "bias"], ["y"], kernel_shape=weight.shape[2:], pads=pads),
        helper.make_node("ReduceSum", ["y", "others"], ["sum"], keepdims=0),
        helper.make_node("ReduceSumSquare", ["y"], ["squares"], axes=[0, 2, 3, 4], keepdims=0),
    ]
    return nodes, {"weight": weight, "bias": bias, "others": np.array([0, 2, 3, 4])}


def apart(channels: int, x: str, y: str) -> tuple[list, dict[str, np.ndarray]]:
    """Return nodes from blocks x (1, 8 C, d, h, w) of 2x2x2 voxels to voxels y (1, C, 2d, 2h, 2w), and their tensors."""
    nodes = [
        helper.make_node("Shape", [x], ["sides"], start=2),
        helper.make_node("Concat", ["eights", "sides"], ["apart"], axis=0),
        helper.make_node("Reshape", [x, "apart"], ["split"]),
        helper.make_node("Transpose", ["split"], ["turned"], perm=[0, 4, 1, 5, 2, 6, 3]),
        helper.make_node("Add", ["sides", "sides"], ["twice"]),
        helper.make_node("Concat", ["channels", "twice"], ["together"], axis=0),
        helper.make_node("Reshape", ["turned", "together"], [y]),
    ]
    return nodes, {"eights": np.array([channels, 2, 2, 2]), "channels": np.array([1, channels])}


def last_layer(weight: np.ndarray, bias: np.ndarray) -> onnx.ModelProto:
    """Return the graph of the last widening, by slabs: where the logit of brain is greater than the other."""
    nodes, tensors = apart(1, "logit", "voxels")
    tensors |= {"weight": (weight[:, 1] - weight[:, 0]).reshape(len(weight), 8).T[:, :, None, None, None],
                "bias": np.repeat(bias[1:2] - bias[:1], 8), "zero": np.float32([0]), "two": np.array([0, 1])}  # fmt: skip
    nodes = [
        helper.make_node("Conv", ["x", "weight", "bias"], ["logit"], kernel_shape=[1, 1, 1]),
        *nodes,
        helper.make_node("Greater", ["voxels", "zero"], ["either"]),
        helper.make_node("Squeeze", ["either", "two"], ["brain"]),
    ]
    model = graph_of("last_layer", nodes, {"x": [1, len(weight), "P", "H", "W"]}, {"brain": ["Q", "H2", "W2"]}, tensors)
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.BOOL
    return model


def halved(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the network with weights of 16 bits, which are cast when it is loaded."""
    for tensor in list(model.graph.initializer):
        values = numpy_helper.to_array(tensor)
        if values.dtype == np.float32 and values.size > SMALL:
            model.graph.initializer.remove(tensor)
            model.graph.initializer.append(numpy_helper.from_array(values.astype(np.float16), f"{tensor.name}_half"))
            cast = helper.make_node("Cast", [f"{tensor.name}_half"], [tensor.name], to=TensorProto.FLOAT)
            model.graph.node.insert(0, cast)
    return model


def main() -> None:
    """Write the five files of both networks."""
    parser_of(__doc__).parse_args()
    warnings.simplefilter("ignore")
    for name, (file, side) in NETWORKS.items():
        whole = exported(file, side)
        first = next(node for node in whole.graph.node if node.input[0] == "x")
        tensors = {tensor.name: tensor for tensor in whole.graph.initializer}
        layer = first_layer(numpy_helper.to_array(tensors[first.input[1]]))
        for part, model in {"_first": layer, **parts(whole)}.items():
            path = FOLDER / f"{name}{part}.onnx"
            onnx.checker.check_model(halved(model))
            path.write_bytes(model.SerializeToString(deterministic=True))
            print(path)


if __name__ == "__main__":
    main()
