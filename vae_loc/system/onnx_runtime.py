"""The CPU that runs a network: its number of threads, and onnxruntime, imported here alone, without telemetry."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any

from vae_loc.vocabulary import FloatArray

_threads: ContextVar[int] = ContextVar("threads", default=1)  # set once, where the command line is parsed


def set_threads(count: int) -> None:
    """Set the number of threads of every session of onnxruntime and network of torch that is built from now on."""
    _threads.set(count)


def threads() -> int:
    """Return the number of threads that was set, 1 if none was."""
    return _threads.get()


def session(graph: bytes, weights: Mapping[str, FloatArray] | None = None) -> Any:
    """Return an InferenceSession of a graph that may be trusted.

    Parameters
    ----------
    weights : float32, by name, of a graph that holds none; onnxruntime does not copy them, so the caller keeps them
    """
    # since 1.29 it reports to its makers unless this is switched off before it is imported
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    import onnxruntime as ort

    ort.disable_telemetry_events()
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads()
    options.enable_mem_pattern = False  # which takes more memory on the second run
    options.log_severity_level = 4  # a fault of a graph is raised
    if weights:
        values = [ort.OrtValue.ortvalue_from_numpy(value) for value in weights.values()]
        options.add_external_initializers(list(weights), values)
    return ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"], enable_fallback=0)
