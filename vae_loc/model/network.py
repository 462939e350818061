"""Model file -> Model: a checkpoint and a function for its network, by onnxruntime on the CPU, by torch elsewhere."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from vae_loc.errors import UnusableModel, UnusableOption
from vae_loc.model.checkpoint import Checkpoint, find_model, load_checkpoint
from vae_loc.model.facts import Facts
from vae_loc.model.graph import GraphName, RunGraph, load_graph, weight_shapes
from vae_loc.system.onnx_runtime import set_threads, threads
from vae_loc.vocabulary import FloatArray


@dataclass(frozen=True)
class Model:
    """A checkpoint that is ready to score.

    Attributes
    ----------
    checkpoint : facts, weights, and healthy statistics by place
    score_terms : gives a graph's function, which computes residual, KL, Rec and gradients for slices (B, 1, H, W)
    """

    checkpoint: Checkpoint
    score_terms: Callable[[GraphName], RunGraph]

    @property
    def facts(self) -> Facts:
        """Facts of the checkpoint."""
        return self.checkpoint.facts

    @property
    def reference(self) -> dict[str, FloatArray]:
        """Template and healthy statistics by place, float32 (I, I, I) each."""
        return self.checkpoint.reference

    @property
    def digest(self) -> str:
        """SHA-256 of the model."""
        return self.checkpoint.digest


def load_model(name: str | Path, device: str = "cpu") -> Model:
    """Return the model of a shipped name or a file; a file that has not changed is read once in a process.

    Raises
    ------
    UnusableModel : if there is none, it is damaged, or its tensors are not those of its network.
    UnusableOption : if the device is not on this machine.
    """
    path = find_model(str(name))
    status = os.stat(path)
    return _loaded(path, (status.st_ino, status.st_mtime_ns, status.st_size), resolve_device(device), threads())


def ready(checkpoint: Checkpoint, device: str = "cpu") -> Model:
    """Return a checkpoint with the function that runs its network.

    Raises
    ------
    UnusableModel : if the tensors are not those of the network that the header describes.
    """
    size, weights = checkpoint.facts.network, checkpoint.weights
    if odd := sorted(weight_shapes(size).items() ^ {(name, weight.shape) for name, weight in weights.items()}):
        what = f"its tensors do not fit the network in its header ({len(odd)} differ, first {odd[0][0]})"
        raise UnusableModel(checkpoint.path or checkpoint.digest[:12], f"{what}; fetch it again")
    if device != "cpu":
        run = _torch_network(checkpoint, device)
        return Model(checkpoint, lambda _: run)
    return Model(checkpoint, functools.cache(lambda graph: load_graph(graph, size, weights)))


def prepared_device(device: str, count: int) -> str:
    """Return a usable device, and set how many threads the CPU uses."""
    set_threads(count)
    return resolve_device(device)


def resolve_device(name: str) -> str:
    """Return a usable device for `auto`, `cpu`, `cuda[:N]` or `mps`; torch is imported for all but `cpu`.

    Raises
    ------
    UnusableOption : if there is no such device on this machine.
    """
    if name == "cpu":
        return name
    try:
        import torch
    except ImportError as error:
        if name == "auto":
            return "cpu"
        raise UnusableOption("--device", f"{name} needs PyTorch, which is not installed; use --device cpu") from error
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        return next(device for device in ("cuda", "mps", "cpu") if available[device])
    kind, _, index = name.partition(":")
    if kind not in available or (index and not (kind == "cuda" and index.isdigit())):
        raise UnusableOption("--device", f"expected auto, cpu, cuda, cuda:N or mps, got {name}")
    if not available[kind] or (index and int(index) >= torch.cuda.device_count()):
        raise UnusableOption("--device", f"{name} is not on this machine; use --device cpu or auto")
    return name


@functools.lru_cache(maxsize=4)  # the three shipped ones and another
def _loaded(path: Path, status: tuple[int, int, int], device: str, thread_count: int) -> Model:
    """Return a model; a file with another inode, time or size is another model, and so is one for other threads."""
    return ready(load_checkpoint(path), device)


def _torch_network(checkpoint: Checkpoint, device: str) -> RunGraph:
    """Return the function that runs `vae.score_terms` on a torch device, with frozen parameters."""
    import torch

    from vae_loc.model.vae import SCORE_TERMS, VAE, score_terms

    torch.set_num_threads(threads())
    with torch.device("meta"):  # no memory for weights that are replaced at once
        model = VAE(latents=checkpoint.facts.network.latents, image_size=checkpoint.facts.network.image_size)
    weights = {name: torch.from_numpy(weight.copy()) for name, weight in checkpoint.weights.items()}
    model.load_state_dict(weights, assign=True)
    model.requires_grad_(False).eval().to(device)

    def run(x: FloatArray, c: float) -> dict[str, FloatArray]:
        terms = score_terms(model, torch.from_numpy(x).to(device), c)
        return {name: term.float().cpu().numpy() for name, term in zip(SCORE_TERMS, terms, strict=True)}

    return run
