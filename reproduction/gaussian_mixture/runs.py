"""A 2-D Gaussian mixture, whose density is known: how do ELBO, KL and Rec follow it? (the paper's supplement)

    log p(x) = log sum_k w_k N(x; m_k, S_k)        d log p / dx = sum_k r_k(x) S_k^-1 (m_k - x)

with r_k the posterior of component k. The ELBO bounds the density of the model, which should be this one.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from reproduction.sweep import Key, Row, keys_of, sweep
from vae_loc.system.progress import BarMaker

if TYPE_CHECKING:
    from torch import Tensor

    from reproduction.dense_vae import DenseVAE

Floats = NDArray[np.float64]

WEIGHTS = np.array([0.4, 0.35, 0.25])
MEANS = np.array([[-2.0, -1.0], [1.5, 1.8], [2.0, -1.8]])
COVARIANCES = np.array([[[0.5, 0.2], [0.2, 0.4]], [[0.8, -0.4], [-0.4, 0.5]], [[0.3, 0.0], [0.0, 0.6]]])
REACH = 5.0  # of the grid, each way
NODES = 81  # of the grid, a side
SAMPLES = 8192
C = 0.3  # standard deviation of p(x|z): finer than the components
LATENTS = 2
HIDDEN = (64, 64)
BATCH_SIZE, STEPS, QUICK_STEPS, PEAK_RATE = 256, 4000, 150, 2e-3
DRAWS = 64  # of z, over which ELBO and Rec are averaged
SETTING = ("protocol", "c")
SCORES = ("elbo", "kl", "rec")


@dataclass(frozen=True)
class Fields:
    """Over N points: values in nats, (N,), and their gradients, (N, 2); low is improbable for all of them."""

    values: dict[str, Floats]
    gradients: dict[str, Floats]


def grid() -> Floats:
    """Return the points (NODES^2, 2) of the grid; the second coordinate changes slowest."""
    line = np.linspace(-REACH, REACH, NODES)
    x, y = np.meshgrid(line, line)
    return np.stack([x.ravel(), y.ravel()], axis=1)


def log_density(points: Floats) -> tuple[Floats, Floats]:
    """Return log p, (N,), and its gradient, (N, 2), of the mixture at points (N, 2)."""
    inverse = np.linalg.inv(COVARIANCES)
    away = MEANS[:, None] - points[None]  # (K, N, 2)
    pull = np.einsum("kij,knj->kni", inverse, away)
    logs = np.log(WEIGHTS / (2 * np.pi * np.sqrt(np.linalg.det(COVARIANCES))))[:, None]
    logs = logs - 0.5 * (away * pull).sum(axis=2)
    top = logs.max(axis=0)
    total = top + np.log(np.exp(logs - top).sum(axis=0))
    gradient = (np.exp(logs - total)[..., None] * pull).sum(axis=0)
    return total, gradient


def sample(count: int, seed: int) -> NDArray[np.float32]:
    """Return points (count, 2) drawn from the mixture."""
    rng = np.random.default_rng(seed)
    chosen = rng.choice(len(WEIGHTS), size=count, p=WEIGHTS)
    roots = np.linalg.cholesky(COVARIANCES)[chosen]
    points: NDArray[np.float32] = MEANS[chosen] + np.einsum("nij,nj->ni", roots, rng.normal(size=(count, 2)))
    return points.astype(np.float32)


def run_mixture(
    folder: Path, name: str, *, seeds: int, jobs: int = 1, quick: bool = False, bars: BarMaker
) -> list[Row]:
    """Run what is missing in `folder`: train, and compare with the density over the grid."""
    keys = keys_of([{"protocol": name, "c": C}], 1 if quick else seeds)
    return sweep(keys, partial(perform_run, QUICK_STEPS if quick else STEPS), folder, jobs=jobs, bars=bars)


def perform_run(steps: int, key: Key) -> dict[str, float]:
    """Train once; return how each score agrees with the true log density.

    `... rank`: Spearman's rho of the values over the grid; `... cosine`: mean cosine between the gradients.
    """
    from scipy.stats import spearmanr

    points = grid()
    scores = fields(trained(key, steps), points, key)
    truth, gradient = log_density(points)
    results: dict[str, float] = {}
    for name in SCORES:
        results[f"{name} rank"] = float(spearmanr(scores.values[name], truth).statistic)
        results[f"{name} cosine"] = float(_cosine(scores.gradients[name], gradient).mean())
    inside = truth > np.log(1e-3)
    results["elbo gap_nats"] = float((truth - scores.values["elbo"])[inside].mean())
    return results


def trained(key: Key, steps: int) -> DenseVAE:
    """Return a VAE trained on samples of the mixture."""
    import torch

    from reproduction.dense_vae import DenseVAE

    seed = int(key["seed"])
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    model = DenseVAE(pixels=2, latents=LATENTS, hidden=HIDDEN)
    optimizer = torch.optim.Adam(model.parameters(), lr=PEAK_RATE)
    points = torch.from_numpy(sample(SAMPLES, seed))
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = PEAK_RATE * (1 - step / steps)
        x = points[torch.randint(len(points), (BATCH_SIZE,), generator=generator)]
        kl, rec = _terms(model, x, torch.randn(len(x), LATENTS, generator=generator), key)
        optimizer.zero_grad(set_to_none=True)
        (kl + rec).mean().backward()
        optimizer.step()
    return model.eval()


def fields(model: DenseVAE, points: Floats, key: Key) -> Fields:
    """Return ELBO, -KL and -Rec at points (N, 2), with the constant of the Gaussian, and their gradients."""
    import torch

    x = torch.from_numpy(points.astype(np.float32)).requires_grad_()
    noise = torch.randn(DRAWS, LATENTS, generator=torch.Generator().manual_seed(0))
    parts = [_terms(model, x, one.expand(len(x), -1), key) for one in noise]
    kl, rec = parts[0][0], torch.stack([rec for _, rec in parts]).mean(dim=0)
    constant = 2 * (0.5 * np.log(2 * np.pi) + np.log(float(key["c"])))
    scores = {"elbo": -(kl + rec) - constant, "kl": -kl, "rec": -rec - constant}
    gradients = {
        name: torch.autograd.grad(value.sum(), x, retain_graph=True)[0].double().numpy()
        for name, value in scores.items()
    }
    return Fields({name: value.detach().double().numpy() for name, value in scores.items()}, gradients)


def _terms(model: DenseVAE, x: Tensor, noise: Tensor, key: Key) -> tuple[Tensor, Tensor]:
    """Return KL and Rec; under `authors` KL takes sigma for log sigma, as their brain script does."""
    from vae_loc.model.vae import kl_divergence, squared_error

    mu, log_sigma = model.encode(x)
    sigma = log_sigma.exp()
    rec = squared_error(x, model.decode(mu + sigma * noise), float(key["c"])).sum(dim=1)
    return kl_divergence(mu, sigma if key["protocol"] == "authors" else log_sigma), rec


def _cosine(one: Floats, other: Floats) -> Floats:
    lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    result: Floats = (one * other).sum(axis=1) / np.maximum(lengths, 1e-12)
    return result
