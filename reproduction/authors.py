"""The scores as the authors' published brain script computes them, faults and all (docs/reproduction).

    KL'        = KL with sigma taken for log sigma: 1/2 (mu^2 + exp(2 sigma) - 1) - sigma        (double exp)
    NLL_i      = (x_i - g_i)^2 / (2 c^2) + log c + 1/2 log 2 pi                                  (the constant)
    KL-Grad    = smooth |d mean KL' / dx|,   Rec-Grad, ELBO-Grad likewise
    Combi      = smooth((|dKL'/dx| - min) / max over the BATCH) * NLL, itself not smoothed

smooth: a 7x7 Gaussian of sigma 3 within the slice, zeros beyond its edge. Every fault has its own switch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from vae_loc.model.vae import VAE, kl_divergence, squared_error
from vae_loc.preprocessing.slices import SliceStack
from vae_loc.vocabulary import METHODS, FloatArray, Method

KERNEL, SIGMA_PIXELS = 7, 3.0
BATCH_SIZE = 64
HALF_LOG_2_PI = 0.5 * math.log(2 * math.pi)  # 0.919


@dataclass(frozen=True)
class Faults:
    """The choices of the script that are made.

    Attributes
    ----------
    double_exp : KL takes sigma for log sigma
    constant : Rec-Error, also within Combi, keeps the constant of the Gaussian
    min_max : Combi's KL-Grad is scaled over the batch
    bare_error : Rec-Error is not smoothed, nor within Combi
    """

    double_exp: bool = False
    constant: bool = False
    min_max: bool = False
    bare_error: bool = False


NO_FAULTS, ALL_FAULTS = Faults(), Faults(True, True, True, True)


@dataclass(frozen=True)
class SliceFields:
    """The network's fields and scores of S slices: float32 (S, H, W), and float64 (S,) in nats.

    `kl_gradient` is scaled over batches where that fault is on.
    """

    error: FloatArray
    kl_gradient: FloatArray
    rec_gradient: FloatArray
    elbo_gradient: FloatArray
    kl: FloatArray
    rec: FloatArray


def kl_of(mu: Tensor, log_sigma: Tensor, *, double_exp: bool) -> Tensor:
    """Return the KL divergence, (B,); with the script's double exp where asked."""
    return kl_divergence(mu, log_sigma.exp() if double_exp else log_sigma)


def scaled(values: Tensor) -> Tensor:
    """Return values from 0 to 1 over the batch, as the script does; 0 where the map is flat (theirs divides by 0)."""
    moved = values - values.min()
    top = moved.max()
    return moved / top if top > 0 else moved


def smoothed_slices(values: Tensor) -> Tensor:
    """Smooth (B, 1, H, W) by the script's kernel; zeros beyond the edge."""
    place = torch.arange(KERNEL) - (KERNEL - 1) / 2
    line = torch.exp(-place.square() / (2 * SIGMA_PIXELS**2))
    kernel = line[:, None] * line[None]
    return functional.conv2d(values, (kernel / kernel.sum())[None, None], padding=KERNEL // 2)


def score_fields(model: VAE, stack: SliceStack, *, c: float, faults: Faults) -> SliceFields:
    """Score slices with some faults on; nothing is smoothed yet."""
    parts = [_score_batch(model, x[:, None], c, faults) for x in torch.from_numpy(stack.pixels).split(BATCH_SIZE)]
    return SliceFields(*(np.concatenate(some) for some in zip(*parts, strict=True)))


def _score_batch(model: VAE, x: Tensor, c: float, faults: Faults) -> tuple[FloatArray, ...]:
    x = x.detach().requires_grad_()
    mu, log_sigma = model.encode(x)
    kl = kl_of(mu, log_sigma, double_exp=faults.double_exp)
    error = squared_error(x, model.decode(mu), c)
    if faults.constant:
        error = error + HALF_LOG_2_PI + math.log(c)
    rec = error.flatten(1).sum(dim=1)
    (kl_gradient,) = torch.autograd.grad(kl.sum(), x, retain_graph=True)
    (rec_gradient,) = torch.autograd.grad(rec.sum(), x)
    both = (kl_gradient + rec_gradient).abs()
    kl_gradient = scaled(kl_gradient.abs()) if faults.min_max else kl_gradient.abs()
    maps = (error.detach(), kl_gradient, rec_gradient.abs(), both)
    return *(values[:, 0].numpy() for values in maps), kl.detach().double().numpy(), rec.detach().double().numpy()


def script_maps(fields: SliceFields, *, min_max_fields: SliceFields | None = None) -> dict[Method, FloatArray]:
    """Return the five maps as the script smooths them, float32 (S, H, W).

    `min_max_fields`: the same scored with `min_max`, for Combi; the other maps are never scaled.
    """

    def smooth(values: FloatArray) -> FloatArray:
        result: FloatArray = smoothed_slices(torch.from_numpy(values)[:, None])[:, 0].numpy()
        return result

    combined = smooth((min_max_fields or fields).kl_gradient) * fields.error
    return {
        "rec-error": fields.error,
        "kl-grad": smooth(fields.kl_gradient),
        "rec-grad": smooth(fields.rec_gradient),
        "elbo-grad": smooth(fields.elbo_gradient),
        "combi": combined,
    }


def ordered(maps: Mapping[Method, FloatArray]) -> dict[Method, FloatArray]:
    """Return maps in the order of `METHODS`."""
    return {method: maps[method] for method in METHODS}
