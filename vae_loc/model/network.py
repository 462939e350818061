"""Checkpoint -> what runs its network: onnxruntime on the CPU, torch elsewhere."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np

from vae_loc.errors import UnusableModel, UnusableOption
from vae_loc.model.checkpoint import Checkpoint
from vae_loc.model.onnx_graph import check_graph, load_graph
from vae_loc.system.threads import threads
from vae_loc.vocabulary import FloatArray


def prepared_device(device: str, count: int) -> str:
    """Return a usable device, and set how many threads the CPU uses."""
    from vae_loc.system.threads import set_threads

    set_threads(count)
    return resolve_device(device)


FIRST_DECODED = "decoder.0.weight"  # (latents, channels, code, code), the code a 16th of the image's side


CODE_STRIDE = 16


GraphName = Literal["kl", "all"]


ScoreTerms = Callable[[GraphName], RunGraph]  # what gives the terms of `kl`, or all of them


def build_model(checkpoint: Checkpoint, device: str = "cpu") -> ScoreTerms:
    """Return what runs the checkpoint's network.

    Raises
    ------
    UnusableModel : if the tensors are not those of the network that the header describes.
    """
    name = checkpoint.path or checkpoint.digest[:12]
    if device != "cpu":
        terms = _torch_network(checkpoint, device)
        return lambda _: terms
    network = checkpoint.facts.network
    first = checkpoint.weights.get(FIRST_DECODED, np.empty((0, 0, 0, 0))).shape
    if (first[0], first[-1] * CODE_STRIDE) != (network.latents, network.image_size):
        raise _unfit(name, f"{FIRST_DECODED} is {first}, for {network.latents} latents of {network.image_size} pixels")
    for graph in checkpoint.graphs.values():
        check_graph(graph, checkpoint.weights, name)
    return functools.cache(lambda graph: load_graph(checkpoint.graphs[graph], checkpoint.weights, name))


def resolve_device(name: str) -> str:
    """Return a usable device for `auto`, `cpu`, `cuda[:N]` or `mps`; torch is imported for all but `cpu`."""
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


def _unfit(name: str | Path, what: str) -> UnusableModel:
    return UnusableModel(name, f"its tensors do not fit the network in its header ({what}); fetch it again")


def _torch_network(checkpoint: Checkpoint, device: str) -> RunGraph:
    """Return what runs `vae.score_terms` on a torch device, with frozen parameters."""
    import torch

    from vae_loc.model.vae import SCORE_TERMS, VAE, score_terms

    torch.set_num_threads(threads())
    network = checkpoint.facts.network
    with torch.device("meta"):  # takes no memory: the header may lie about the size
        model = VAE(latents=network.latents, image_size=network.image_size)
    expected = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    odd = sorted(expected.items() ^ {(name, weight.shape) for name, weight in checkpoint.weights.items()})
    if odd:
        raise _unfit(checkpoint.path or checkpoint.digest[:12], f"{len(odd)} differ, first {odd[0][0]}")
    weights = {name: torch.from_numpy(weight.copy()) for name, weight in checkpoint.weights.items()}
    model.load_state_dict(weights, assign=True)
    model.requires_grad_(False).eval().to(device)

    def run(x: FloatArray, c: float) -> dict[str, FloatArray]:
        terms = score_terms(model, torch.from_numpy(x).to(device), c)
        return {name: term.float().cpu().numpy() for name, term in zip(SCORE_TERMS, terms, strict=True)}

    return run
