"""onnxruntime on the CPU: imported here alone, without telemetry; one way to make a session."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from vae_loc.system.threads import threads
from vae_loc.vocabulary import FloatArray


def session(graph: bytes, weights: Mapping[str, FloatArray] | None = None) -> Any:
    """Return an InferenceSession of a graph that may be trusted.

    Parameters
    ----------
    weights : float32, by name, of a graph that holds none; onnxruntime does not copy them, so the caller keeps them
    """
    ort = _runtime()
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads()
    options.log_severity_level = 4  # a fault of a graph is raised
    if weights:
        values = [ort.OrtValue.ortvalue_from_numpy(value) for value in weights.values()]
        options.add_external_initializers(list(weights), values)
    return ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"], enable_fallback=0)


def _runtime() -> Any:
    """Import onnxruntime, which since 1.29 reports to its makers unless it is told not to before it is imported."""
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    import onnxruntime

    onnxruntime.disable_telemetry_events()
    return onnxruntime
