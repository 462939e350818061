"""Networks of random weights, and models of them without a checkpoint."""

from __future__ import annotations

from types import SimpleNamespace

import torch

from vae_loc.model.network import Model
from vae_loc.model.onnx_export import derived_graphs
from vae_loc.model.onnx_graph import load_graph
from vae_loc.model.vae import VAE

LATENTS, IMAGE_SIZE = 16, 64


def random_vae():
    torch.manual_seed(0)
    return VAE(latents=LATENTS, image_size=IMAGE_SIZE).requires_grad_(False)


def score_terms_of(vae):
    """Return what a `Model` has of a network: a function that gives the graph of a name, loaded."""
    graphs = derived_graphs(LATENTS, IMAGE_SIZE)
    weights = {name: weight.numpy() for name, weight in vae.state_dict().items()}
    return lambda name: load_graph(graphs[name], weights, "test")


def bare_model(score_terms, c):
    """Return a model that states nothing but the standard deviation of p(x|z)."""
    return Model(SimpleNamespace(facts=SimpleNamespace(network=SimpleNamespace(c=c)), digest="bare"), score_terms)
