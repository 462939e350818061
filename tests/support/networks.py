"""Networks of random weights, and models of them without a checkpoint."""

from __future__ import annotations

from types import SimpleNamespace

import torch

from vae_loc.model.facts import NetworkSize
from vae_loc.model.graph import load_graph
from vae_loc.model.network import Model
from vae_loc.model.vae import VAE

LATENTS, IMAGE_SIZE = 16, 64


def random_vae():
    torch.manual_seed(0)
    return VAE(latents=LATENTS, image_size=IMAGE_SIZE).requires_grad_(False)


def score_terms_of(vae):
    """Return the `score_terms` of a `Model`: a function that loads the graph of a name."""
    size = NetworkSize(latents=LATENTS, image_size=IMAGE_SIZE, c=1)
    weights = {name: weight.numpy() for name, weight in vae.state_dict().items()}
    return lambda name: load_graph(name, size, weights)


def bare_model(score_terms, c):
    """Return a model that states nothing but the standard deviation of p(x|z)."""
    return Model(SimpleNamespace(facts=SimpleNamespace(network=SimpleNamespace(c=c)), digest="bare"), score_terms)
