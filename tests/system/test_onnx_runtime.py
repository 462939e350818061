"""Sessions of onnxruntime: no telemetry, no log lines, weights in the graph or apart, as many threads as were set."""

import contextvars
import subprocess
import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from scipy.signal import correlate

from vae_loc.system.onnx_runtime import session, set_threads

RNG = np.random.default_rng(0)
IMAGES = RNG.standard_normal((2, 3, 40, 40), dtype=np.float32)
KERNEL = RNG.standard_normal((8, 3, 5, 5), dtype=np.float32)


def convolution(*, weights_apart):
    """The bytes of a graph that convolves; its kernel is in it, or only named."""
    kernel = numpy_helper.from_array(KERNEL, "kernel")
    if weights_apart:
        kernel.ClearField("raw_data")
        kernel.data_location = TensorProto.EXTERNAL
        kernel.external_data.add(key="location", value="weights")
    given, made = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [None] * 4) for name in ("images", "maps"))
    node = helper.make_node("Conv", ["images", "kernel"], ["maps"])
    graph = helper.make_graph([node], "convolution", [given], [made], [kernel])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()


def maps(*, threads=1, weights=None):
    """Return the maps of a session that was made after so many threads were set."""

    def run():
        set_threads(threads)
        made = session(convolution(weights_apart=weights is not None), weights)
        assert made.get_session_options().intra_op_num_threads == threads
        return made.run(None, {"images": IMAGES})[0]

    return contextvars.copy_context().run(run)


def test_a_convolution_is_that_of_scipy():
    expected = [
        [sum(correlate(*pair, "valid") for pair in zip(image, kernel, strict=True)) for kernel in KERNEL]
        for image in IMAGES
    ]
    np.testing.assert_allclose(maps(), expected, atol=1e-4)


def test_threads_change_no_number():
    np.testing.assert_array_equal(maps(threads=1), maps(threads=2))


def test_weights_given_apart_count_as_those_in_the_graph():
    np.testing.assert_array_equal(maps(weights={"kernel": KERNEL}), maps())
    np.testing.assert_allclose(maps(weights={"kernel": 2 * KERNEL}), 2 * maps(), rtol=1e-5, atol=1e-5)


def test_what_is_wrong_with_a_graph_is_raised_and_not_logged(capfd):
    broken = onnx.load_from_string(convolution(weights_apart=False))
    broken.graph.node[0].input[1] = "missing"
    with pytest.raises(Exception, match="missing"):
        session(broken.SerializeToString())
    assert capfd.readouterr() == ("", "")


def test_telemetry_is_off_before_onnxruntime_is_imported(tmp_path):
    """Since 1.29 it uploads events as soon as it is loaded (design [60])."""
    (tmp_path / "graph.onnx").write_bytes(convolution(weights_apart=False))
    script = f"""
import os, sys
os.environ.pop("ORT_DISABLE_TELEMETRY", None)
seen = []
sys.addaudithook(lambda event, args: seen.append(os.environ.get("ORT_DISABLE_TELEMETRY"))
                 if event == "import" and args[0] == "onnxruntime" else None)
from vae_loc.system.onnx_runtime import session
assert not seen
session(open({str(tmp_path / "graph.onnx")!r}, "rb").read())
print(seen)
"""
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "['1']"
