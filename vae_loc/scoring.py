"""SliceStack -> the five maps and the sample-wise scores (Zimmerer et al. 2019, section 2).

    Rec-Error_i = (x_i - g_i(mu))^2 / (2 c^2)
    KL-Grad_i   = |dKL/dx_i|      Rec-Grad_i = |dRec/dx_i|      ELBO-Grad_i = |d(KL + Rec)/dx_i|
    Combi_i     = KL-Grad_i * Rec-Error_i

One forward pass and at most two backward passes with respect to the input give all of them:
the gradient is linear, so ELBO-Grad is the magnitude of the sum of the other two. What the
network gives is kept with its sign (`SliceScores.fields`); the maps are made of it. On the CPU the
model's own graph is run by onnxruntime, elsewhere `vae` by torch, which is imported only then.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from vae_loc.checkpoint import Checkpoint, Method
from vae_loc.errors import UnusableModel, UnusableOption
from vae_loc.graph import Run, check_graph, load_graph
from vae_loc.slices import SliceStack
from vae_loc.threads import threads
from vae_loc.volume import FloatArray

BATCH_SIZE = 64  # slices at a time: a whole brain at 3 mm; 64 MB of activations
NEEDS_REC_GRADIENT = frozenset({"rec-grad", "elbo-grad"})
FIRST_DECODED = "decoder.0.weight"  # (latents, channels, code, code), the code a 16th of the image's side
CODE_STRIDE = 16

Field = Literal["residual", "kl-gradient", "rec-gradient"]
FIELDS: tuple[Field, ...] = ("residual", "kl-gradient", "rec-gradient")
GraphName = Literal["kl", "all"]
Network = Callable[[GraphName], Run]  # what gives the terms of `kl`, or all of them


@dataclass(frozen=True)
class SliceScores:
    """Scores of a stack of S slices.

    Attributes
    ----------
    fields : float32 (S, H, W) with sign: residual x - g(mu), above 0 where the slice is brighter than
        expected; kl-gradient dKL/dx; rec-gradient dRec/dx where a method asked for needs it
    c : standard deviation of p(x|z)
    kl, rec : float64 (S,), in nats; rec without the constant of the Gaussian
    """

    fields: dict[Field, FloatArray]
    c: float
    kl: NDArray[np.float64]
    rec: NDArray[np.float64]

    def map(self, method: Method) -> FloatArray:
        """Return one of the paper's maps, float32 (S, H, W) >= 0; units as in the module's equations."""
        of = self.fields
        found: FloatArray
        if method == "rec-error":
            found = (np.square(of["residual"]) / (2 * self.c * self.c)).astype(np.float32)
        elif method == "kl-grad":
            found = np.abs(of["kl-gradient"])
        elif method == "rec-grad":
            found = np.abs(of["rec-gradient"])
        elif method == "elbo-grad":
            found = np.abs(of["kl-gradient"] + of["rec-gradient"])
        else:
            found = self.map("kl-grad") * self.map("rec-error")
        return found


def build_model(checkpoint: Checkpoint, device: str = "cpu") -> Network:
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


def score_slices(network: Network, stack: SliceStack, *, c: float, methods: Sequence[Method]) -> SliceScores:
    """Score every slice of a stack, each on its own: neighbours in a batch have no influence.

    Does not smooth, and does not blank the background.
    """
    run = network("all" if NEEDS_REC_GRADIENT.intersection(methods) else "kl")
    starts = range(0, len(stack.pixels), BATCH_SIZE)
    parts = [run(stack.pixels[start : start + BATCH_SIZE, None], c) for start in starts]
    terms = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    fields = {name: terms[name][:, 0] for name in FIELDS if name in terms}
    return SliceScores(fields, c, terms["kl"].astype(np.float64), terms["rec"].astype(np.float64))


def _unfit(name: str | Path, what: str) -> UnusableModel:
    return UnusableModel(name, f"its tensors do not fit the network in its header ({what}); fetch it again")


def _torch_network(checkpoint: Checkpoint, device: str) -> Run:
    """Return what runs `vae.score_terms` on a torch device, with frozen parameters."""
    import torch

    from vae_loc.vae import SCORE_TERMS, VAE, score_terms

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
