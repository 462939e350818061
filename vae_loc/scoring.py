"""SliceStack -> the five maps and the sample-wise scores (Zimmerer et al. 2019, section 2).

    Rec-Error_i = (x_i - g_i(mu))^2 / (2 c^2)
    KL-Grad_i   = |dKL/dx_i|      Rec-Grad_i = |dRec/dx_i|      ELBO-Grad_i = |d(KL + Rec)/dx_i|
    Combi_i     = KL-Grad_i * Rec-Error_i

One forward pass and at most two backward passes with respect to the input give all of them:
the gradient is linear, so ELBO-Grad is the magnitude of the sum of the other two.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vae_loc.checkpoint import Checkpoint, Method
from vae_loc.errors import UnusableModel, UnusableOption
from vae_loc.slices import SliceStack
from vae_loc.vae import VAE, kl_divergence, squared_error
from vae_loc.volume import FloatArray

BATCH_SIZE = 64  # slices at a time: a whole brain at 3 mm; 64 MB of activations
NEEDS_KL_GRADIENT = frozenset({"kl-grad", "elbo-grad", "combi"})
NEEDS_REC_GRADIENT = frozenset({"rec-grad", "elbo-grad"})


@dataclass(frozen=True)
class SliceScores:
    """Scores of a stack of S slices.

    Attributes
    ----------
    maps : float32 (S, H, W) >= 0 for each method asked for; units as in the module's equations
    residual : float32 (S, H, W), x - g(mu): above 0 where the slice is brighter than expected
    kl, rec : float64 (S,), in nats; rec without the constant of the Gaussian
    """

    maps: dict[Method, FloatArray]
    residual: FloatArray
    kl: NDArray[np.float64]
    rec: NDArray[np.float64]


def build_model(checkpoint: Checkpoint, device: str = "cpu") -> VAE:
    """Return the checkpoint's VAE with frozen parameters.

    Raises
    ------
    UnusableModel : if the tensors are not those of the network that the header describes.
    """
    network = checkpoint.facts.network
    with torch.device("meta"):  # takes no memory: the header may lie about the size
        model = VAE(latents=network.latents, image_size=network.image_size)
    expected = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    odd = sorted(expected.items() ^ {(name, weight.shape) for name, weight in checkpoint.weights.items()})
    if odd:
        raise UnusableModel(
            checkpoint.path or checkpoint.digest[:12],
            f"its tensors do not fit the network in its header ({len(odd)} differ, first {odd[0][0]}); fetch it again",
        )
    weights = {name: torch.from_numpy(weight.copy()) for name, weight in checkpoint.weights.items()}
    model.load_state_dict(weights, assign=True)
    return model.requires_grad_(False).eval().to(device)


def resolve_device(name: str) -> str:
    """Return a usable torch device for `auto`, `cpu`, `cuda[:N]` or `mps`."""
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        return next(device for device in ("cuda", "mps", "cpu") if available[device])
    kind, _, index = name.partition(":")
    if kind not in available or (index and not (kind == "cuda" and index.isdigit())):
        raise UnusableOption("--device", f"expected auto, cpu, cuda, cuda:N or mps, got {name}")
    if not available[kind] or (index and int(index) >= torch.cuda.device_count()):
        raise UnusableOption("--device", f"{name} is not on this machine; use --device cpu or auto")
    return name


def score_slices(model: VAE, stack: SliceStack, *, c: float, methods: Sequence[Method]) -> SliceScores:
    """Score every slice of a stack, each on its own: neighbours in a batch have no influence.

    Does not smooth, and does not blank the background.
    """
    device = next(model.parameters()).device
    kls, recs, residuals = [], [], []
    maps: dict[Method, list[FloatArray]] = {method: [] for method in methods}
    for batch in torch.from_numpy(stack.pixels).split(BATCH_SIZE):
        batch_maps, residual, kl, rec = _score_batch(model, batch[:, None].to(device), c, methods)
        kls.append(kl.double().cpu().numpy())
        recs.append(rec.double().cpu().numpy())
        residuals.append(residual[:, 0].float().cpu().numpy())
        for method in methods:
            maps[method].append(batch_maps[method][:, 0].float().cpu().numpy())
    joined = {method: np.concatenate(parts) for method, parts in maps.items()}
    return SliceScores(joined, np.concatenate(residuals), np.concatenate(kls), np.concatenate(recs))


def _score_batch(
    model: VAE, x: Tensor, c: float, methods: Sequence[Method]
) -> tuple[dict[Method, Tensor], Tensor, Tensor, Tensor]:
    x = x.detach().requires_grad_()
    mu, log_sigma = model.encode(x)
    kl = kl_divergence(mu, log_sigma)
    expected = model.decode(mu)
    error = squared_error(x, expected, c)
    rec = error.flatten(1).sum(dim=1)
    wanted = set(methods)
    needs_rec = bool(wanted & NEEDS_REC_GRADIENT)
    maps: dict[Method, Tensor] = {"rec-error": error.detach()}
    if wanted & NEEDS_KL_GRADIENT:
        (kl_gradient,) = torch.autograd.grad(kl.sum(), x, retain_graph=needs_rec)
        maps["kl-grad"] = kl_gradient.abs()
        maps["combi"] = maps["kl-grad"] * maps["rec-error"]
    if needs_rec:
        (rec_gradient,) = torch.autograd.grad(rec.sum(), x)
        maps["rec-grad"] = rec_gradient.abs()
        if "elbo-grad" in wanted:
            maps["elbo-grad"] = (kl_gradient + rec_gradient).abs()
    return maps, (x - expected).detach(), kl.detach(), rec.detach()
