"""onnxruntime on the CPU: imported here alone, without telemetry; one way to make a session."""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Mapping
from typing import Any

from vae_loc.system.threads import threads
from vae_loc.vocabulary import FloatArray

MAX_BYTES = 3_000_000_000  # of all sessions of graphs that came in files; slices of 128 pixels take 0.1 GB
MAX_RUN_S = 120.0  # of one batch of slices, which takes 0.05 s


def session(graph: bytes, weights: Mapping[str, FloatArray] | None = None) -> Any:
    """Return an InferenceSession of a graph that may be trusted.

    Parameters
    ----------
    weights : float32, by name, of a graph that holds none; onnxruntime does not copy them, so the caller keeps them
    """
    return _session(graph, weights, _runtime().SessionOptions())


def _session(graph: bytes, weights: Mapping[str, FloatArray] | None, options: Any) -> Any:
    ort = _runtime()
    options.intra_op_num_threads = threads()
    options.log_severity_level = 4  # what is wrong with a graph is raised
    if weights:
        values = [ort.OrtValue.ortvalue_from_numpy(value) for value in weights.values()]
        options.add_external_initializers(list(weights), values)
    return ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"], enable_fallback=0)


def bounded_session(graph: bytes, weights: Mapping[str, FloatArray]) -> Any:
    """Return an InferenceSession of a graph that came in a file; a run that needs more than `MAX_BYTES` fails.

    Parameters
    ----------
    weights : float32, by name, as in `session`
    """
    ort = _runtime()
    _register_bounded_memory()
    options = ort.SessionOptions()
    options.add_session_config_entry("session.use_env_allocators", "1")
    return _session(graph, weights, options)


def bounded_run(made: Any, inputs: Mapping[str, FloatArray]) -> list[FloatArray]:
    """Return the outputs of a session, which is ended after `MAX_RUN_S`.

    Raises
    ------
    any of `graph_faults` : if it fails, or takes longer.
    """
    limits = _runtime().RunOptions()
    limits.log_severity_level = 4
    timer = threading.Timer(MAX_RUN_S, setattr, (limits, "terminate", True))
    timer.daemon = True
    timer.start()
    try:
        outputs: list[FloatArray] = made.run(None, dict(inputs), limits)
    finally:
        timer.cancel()
    return outputs


@functools.cache
def _register_bounded_memory() -> None:
    """Give the process one allocator with a bound, for the sessions that ask for it."""
    ort = _runtime()
    place = ort.OrtMemoryInfo("Cpu", ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, ort.OrtMemType.DEFAULT)
    ort.create_and_register_allocator(place, ort.OrtArenaCfg(MAX_BYTES, -1, -1, -1))


def graph_faults() -> tuple[type[Exception], ...]:
    """Return what onnxruntime raises for a graph that it refuses."""
    _runtime()
    from onnxruntime.capi import onnxruntime_pybind11_state as of

    return (of.Fail, of.InvalidGraph, of.InvalidProtobuf, of.InvalidArgument, of.NotImplemented, of.RuntimeException,
            of.EPFail)  # fmt: skip


def _runtime() -> Any:
    """Import onnxruntime, which since 1.29 reports to its makers unless it is told not to before it is imported."""
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    import onnxruntime

    onnxruntime.disable_telemetry_events()
    return onnxruntime
