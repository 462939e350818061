"""deepbet's networks (TorchScript, in its wheel) -> the ONNX files that vae-loc carries.

    pip install deepbet==1.0.2 && python -m benchmarks.tools.export_deepbet

The convolution of the first layer, 7x7x7 with a stride of 2, becomes one of 4x4x4 over blocks of 2x2x2 voxels; the two
classes' logits become their difference, and the softmax is left out; weights are rounded to 16 bits.
"""

from __future__ import annotations

import tempfile
import warnings
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

from benchmarks.command import parser_of

FOLDER = Path(__file__).parents[2] / "vae_loc" / "preprocessing" / "deepbet"
NETWORKS = {"box": ("bbox_model", 128), "brain": ("model", 256)}  # name -> file in the wheel, side of its input
SMALL = 64  # tensors of fewer numbers stay 32 bits


def exported(name: str, side: int) -> onnx.ModelProto:
    """Return a network of the wheel as ONNX."""
    from deepbet.utils import DATA_PATH

    network = torch.jit.load(f"{DATA_PATH}/models/{name}.pt", map_location="cpu").eval()
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/network.onnx"
        example = torch.zeros(1, 1, side, side, side)
        torch.onnx.export(
            network, (example,), path, input_names=["x"], output_names=["p"], dynamo=False, opset_version=17
        )
        return onnx.load(path)


def simplified(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the network that gives one logit for each voxel, for blocks of 2x2x2 voxels as 8 channels."""
    graph = model.graph
    tensors = {tensor.name: tensor for tensor in graph.initializer}

    def replace(name: str, values: np.ndarray) -> None:
        tensors[name].CopyFrom(numpy_helper.from_array(np.ascontiguousarray(values), name))

    softmax = next(node for node in graph.node if node.op_type == "Softmax")
    last = next(node for node in graph.node if node.output[0] == softmax.input[0])
    weight, bias = (numpy_helper.to_array(tensors[name]) for name in last.input[1:3])
    replace(last.input[1], weight[:, 1:2] - weight[:, :1])
    replace(last.input[2], bias[1:2] - bias[:1])
    graph.node.remove(softmax)
    last.output[0] = "logit"
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info("logit", TensorProto.FLOAT, [1, 1, "D", "H", "W"]))
    first = next(node for node in graph.node if node.input[0] == "x")
    weight = np.pad(numpy_helper.to_array(tensors[first.input[1]]), ((0, 0), (0, 0), (1, 0), (1, 0), (1, 0)))
    blocks = weight.reshape(len(weight), 4, 2, 4, 2, 4, 2).transpose(0, 2, 4, 6, 1, 3, 5)
    replace(first.input[1], blocks.reshape(len(weight), 8, 4, 4, 4))
    new = {"strides": [1, 1, 1], "pads": [2, 2, 2, 1, 1, 1], "kernel_shape": [4, 4, 4]}
    for attribute in first.attribute:
        if attribute.name in new:
            attribute.ints[:] = new[attribute.name]
    graph.input[0].CopyFrom(helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 8, "d", "h", "w"]))
    del graph.value_info[:]
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
    """Write both networks."""
    parser_of(__doc__).parse_args()
    warnings.simplefilter("ignore")
    for name, (file, side) in NETWORKS.items():
        model = halved(simplified(exported(file, side)))
        onnx.checker.check_model(model)
        (FOLDER / f"{name}.onnx").write_bytes(model.SerializeToString(deterministic=True))
        print(FOLDER / f"{name}.onnx")


if __name__ == "__main__":
    main()
