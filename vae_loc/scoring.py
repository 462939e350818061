"""SliceStack -> the five maps and the sample-wise scores (Zimmerer et al. 2019, section 2).

    Rec-Error_i = (x_i - g_i(mu))^2 / (2 c^2)
    KL-Grad_i   = |dKL/dx_i|      Rec-Grad_i = |dRec/dx_i|      ELBO-Grad_i = |d(KL + Rec)/dx_i|
    Combi_i     = KL-Grad_i * Rec-Error_i

One forward pass and at most two backward passes with respect to the input give all of them:
the gradient is linear, so ELBO-Grad is the magnitude of the sum of the other two. What the
network gives is kept with its sign (`SliceScores.fields`); the maps are made of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

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


Field = Literal["residual", "kl-gradient", "rec-gradient"]


@dataclass(frozen=True)
class SliceScores:
    """Scores of a stack of S slices.

    Attributes
    ----------
    fields : float32 (S, H, W) with sign: residual x - g(mu), above 0 where the slice is brighter than
        expected; kl-gradient dKL/dx and rec-gradient dRec/dx where a method asked for needs them
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
    kls, recs = [], []
    fields: dict[Field, list[FloatArray]] = {}
    for batch in torch.from_numpy(stack.pixels).split(BATCH_SIZE):
        found, kl, rec = _score_batch(model, batch[:, None].to(device), c, set(methods))
        kls.append(kl.double().cpu().numpy())
        recs.append(rec.double().cpu().numpy())
        for name, values in found.items():
            fields.setdefault(name, []).append(values[:, 0].float().cpu().numpy())
    joined = {name: np.concatenate(parts) for name, parts in fields.items()}
    return SliceScores(joined, c, np.concatenate(kls), np.concatenate(recs))


def _score_batch(model: VAE, x: Tensor, c: float, wanted: set[Method]) -> tuple[dict[Field, Tensor], Tensor, Tensor]:
    x = x.detach().requires_grad_()
    mu, log_sigma = model.encode(x)
    kl = kl_divergence(mu, log_sigma)
    expected = model.decode(mu)
    rec = squared_error(x, expected, c).flatten(1).sum(dim=1)
    fields: dict[Field, Tensor] = {"residual": (x - expected).detach()}
    needs_rec = bool(wanted & NEEDS_REC_GRADIENT)
    if wanted & NEEDS_KL_GRADIENT:
        (fields["kl-gradient"],) = torch.autograd.grad(kl.sum(), x, retain_graph=needs_rec)
    if needs_rec:
        (fields["rec-gradient"],) = torch.autograd.grad(rec.sum(), x)
    return fields, kl.detach(), rec.detach()
