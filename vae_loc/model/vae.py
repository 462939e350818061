"""The networks and the ELBO terms, in one file.

Zimmerer et al., MICCAI 2019, arXiv:1907.02796. Tensors are (B, C, H, W).
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from vae_loc.model.graph import CHANNELS, KERNEL, SHRINKAGE

LEAK = 0.01  # slope of LeakyReLU below zero, PyTorch's default as in the authors' code
LOG_SIGMA_RANGE = (-10.0, 10.0)  # keeps exp() finite in float32
SCORE_TERMS = ("residual", "kl", "rec", "kl-gradient", "rec-gradient")  # the order of `score_terms`


class VAE(nn.Module):
    """q(z|x) = N(mu, sigma^2 I) and the mean g(z) of p(x|z) = N(g(z), c^2 I).

    The layers next to the latent, whose kernel is as large as their grid, are convolutions, run as the matrix
    products that they are: a training step takes three quarters of the time.

    Parameters
    ----------
    latents : size of z
    image_size : H = W of the slices in pixels, a multiple of 16
    """

    def __init__(self, *, latents: int = 256, image_size: int = 64) -> None:
        super().__init__()
        self.latents = latents
        last = image_size // SHRINKAGE
        down: list[nn.Module] = []
        up: list[nn.Module] = []
        for c_in, c_out in zip((1, *CHANNELS), CHANNELS, strict=False):
            down += [nn.Conv2d(c_in, c_out, KERNEL, stride=2, padding=1), nn.LeakyReLU(LEAK)]
        down += [nn.Conv2d(CHANNELS[-1], 2 * latents, last)]  # (B, 2 * latents, 1, 1)
        up += [nn.ConvTranspose2d(latents, CHANNELS[-1], last), nn.LeakyReLU(LEAK)]
        for c_in, c_out in zip(CHANNELS[:0:-1], CHANNELS[-2::-1], strict=True):
            up += [nn.ConvTranspose2d(c_in, c_out, KERNEL, stride=2, padding=1), nn.LeakyReLU(LEAK)]
        up += [nn.ConvTranspose2d(CHANNELS[0], 1, KERNEL, stride=2, padding=1)]  # (B, 1, H, W)
        self.encoder = nn.Sequential(*down)
        self.decoder = nn.Sequential(*up)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return mu and log sigma of q(z|x), each (B, latents), for slices (B, 1, H, W)."""
        last = cast(nn.Conv2d, self.encoder[-1])
        features: Tensor = self.encoder[:-1](x).flatten(1)
        mu, log_sigma = (features @ last.weight.flatten(1).t() + cast(Tensor, last.bias)).float().chunk(2, dim=1)
        return mu, log_sigma.clamp(*LOG_SIGMA_RANGE)

    def decode(self, z: Tensor) -> Tensor:
        """Return g(z), (B, 1, H, W), for z (B, latents)."""
        first = cast(nn.ConvTranspose2d, self.decoder[0])
        grid = (z @ first.weight.flatten(1)).reshape(-1, *first.weight.shape[1:])
        decoded: Tensor = self.decoder[1:](grid + cast(Tensor, first.bias)[:, None, None])
        return decoded.float()


def kl_divergence(mu: Tensor, log_sigma: Tensor) -> Tensor:
    """KL(q(z|x) || N(0, I)) in nats, (B,).

    KL = sum_j 1/2 (mu_j^2 + sigma_j^2 - 1) - log sigma_j          (Kingma & Welling 2014, app. B)
    """
    return (0.5 * (mu.square() + (2 * log_sigma).exp() - 1) - log_sigma).sum(dim=1)


def squared_error(x: Tensor, reconstruction: Tensor, c: float | Tensor) -> Tensor:
    """Return (x_i - g_i(z))^2 / (2 c^2) of each pixel, (B, C, H, W): -log p(x|z) without its constant (design [1])."""
    return (x - reconstruction).square() / (2 * c * c)


def negative_elbo(
    model: VAE, x: Tensor, noise: Tensor, *, c: float, target: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Return KL and Rec of each slice, each (B,), with z = mu + sigma * noise.

    Their sum is the training loss -ELBO; `noise` is standard normal, (B, latents). Rec is to `target`,
    where the slices x were made worse on purpose; else to x.
    """
    mu, log_sigma = model.encode(x)
    error = squared_error(x if target is None else target, model.decode(mu + log_sigma.exp() * noise), c)
    return kl_divergence(mu, log_sigma), error.flatten(1).sum(dim=1)


@torch.enable_grad()
def score_terms(model: VAE, x: Tensor, c: float | Tensor) -> tuple[Tensor, ...]:
    """Return the terms of all maps, in the order of `SCORE_TERMS`, for slices x (B, 1, H, W) and z = mu.

    The residual x - g(mu) (B, 1, H, W), KL and Rec of each slice (B,), and dKL/dx and dRec/dx (B, 1, H, W): one
    forward pass, and two backward passes with respect to the input alone. Of slices, not of the batch:
    neighbours have no influence.
    """
    x = x.detach().requires_grad_()
    mu, log_sigma = model.encode(x)
    expected = model.decode(mu)
    kl = kl_divergence(mu, log_sigma)
    rec = squared_error(x, expected, c).flatten(1).sum(dim=1)
    (kl_gradient,) = torch.autograd.grad(kl.sum(), x, retain_graph=True)
    (rec_gradient,) = torch.autograd.grad(rec.sum(), x)
    return (x - expected).detach(), kl.detach(), rec.detach(), kl_gradient, rec_gradient
