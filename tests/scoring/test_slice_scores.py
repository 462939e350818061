"""The five maps are those of the paper, whoever computes them."""

import numpy as np
import pytest
import torch

from vae_loc.model.checkpoint import load_checkpoint
from vae_loc.model.onnx_export import derived_graphs
from vae_loc.model.onnx_graph import load_graph
from vae_loc.model.shipped import find_model
from vae_loc.model.vae import SCORE_TERMS, VAE, kl_divergence, score_terms
from vae_loc.preprocessing.slices import SliceStack
from vae_loc.scoring.slice_scores import score_slices
from vae_loc.vocabulary import METHODS


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return VAE(latents=16).requires_grad_(False)


def weights_of(model):
    return {name: weight.numpy() for name, weight in model.state_dict().items()}


@pytest.fixture(scope="module")
def network(model):
    graphs = derived_graphs(16, 64)
    return lambda name: load_graph(graphs[name], weights_of(model), "test")


def assert_terms_equal(found, model, x, c):
    expected = dict(zip(SCORE_TERMS, score_terms(model, x, c), strict=True))
    for name, value in found.items():
        scale = float(expected[name].abs().max())
        np.testing.assert_allclose(value, expected[name].numpy(), rtol=1e-5, atol=1e-5 * scale, err_msg=name)


@pytest.mark.parametrize("slices", [1, 5])
def test_the_graph_equals_torch(model, network, slices):
    x = torch.from_numpy(np.random.default_rng(1).standard_normal((slices, 1, 64, 64)).astype(np.float32))
    for name in ("kl", "all"):
        assert_terms_equal(network(name)(x.numpy(), 0.7), model, x, 0.7)
    assert list(network("all")(x.numpy(), 1.0)) == list(SCORE_TERMS)


def test_the_graph_equals_torch_where_log_sigma_is_clamped(network, model):
    x = torch.full((2, 1, 64, 64), 1000.0)
    assert (model.encode(x)[1].abs() == 10).any()
    assert_terms_equal(network("all")(x.numpy(), 1.0), model, x, 1.0)


@pytest.mark.parametrize("name", ["t1", "t2", "flair"])
def test_the_graph_of_a_shipped_model_equals_torch(name):
    checkpoint = load_checkpoint(find_model(name))
    size = checkpoint.facts.network
    shipped = VAE(latents=size.latents, image_size=size.image_size).requires_grad_(False)
    shipped.load_state_dict({key: torch.from_numpy(value.copy()) for key, value in checkpoint.weights.items()})
    x = torch.from_numpy(np.random.default_rng(2).standard_normal((3, 1, 64, 64)).astype(np.float32))
    for graph in checkpoint.graphs.values():
        assert_terms_equal(load_graph(graph, checkpoint.weights, name)(x.numpy(), size.c), shipped, x, size.c)


@pytest.fixture
def stack():
    pixels = np.random.default_rng(0).standard_normal((7, 64, 64)).astype(np.float32)
    return SliceStack(pixels, np.ones(pixels.shape, bool), np.arange(7.0), np.arange(7))


def plain_autograd(model, x, c):
    """Each score by its own forward pass and `backward`, one slice at a time."""
    maps = {method: [] for method in METHODS}
    for slice_ in x:
        grads = {}
        for term in ("kl", "rec", "elbo"):
            inp = slice_[None].clone().requires_grad_()
            mu, log_sigma = model.encode(inp)
            kl = (0.5 * (mu**2 + torch.exp(log_sigma) ** 2 - 1) - log_sigma).sum()
            error = (inp - model.decode(mu)) ** 2 / (2 * c**2)
            {"kl": kl, "rec": error.sum(), "elbo": kl + error.sum()}[term].backward()
            grads[term] = inp.grad.abs()
        maps["rec-error"].append(error.detach())
        for term in grads:
            maps[f"{term}-grad"].append(grads[term])
        maps["combi"].append(grads["kl"] * error.detach())
    return {method: torch.cat(parts)[:, 0].numpy() for method, parts in maps.items()}


@pytest.mark.parametrize("c", [0.5, 1.0, 4.0])
def test_maps_equal_plain_autograd(model, network, stack, c):
    expected = plain_autograd(model, torch.from_numpy(stack.pixels)[:, None], c)
    found = score_slices(network, stack, c=c, methods=METHODS)
    for method in METHODS:
        scale = np.abs(expected[method]).max()
        np.testing.assert_allclose(found.map(method), expected[method], rtol=1e-5, atol=1e-5 * scale, err_msg=method)


@pytest.mark.parametrize("method", METHODS)
def test_a_map_does_not_depend_on_the_others_asked_for(network, stack, method):
    alone = score_slices(network, stack, c=1, methods=(method,)).map(method)
    together = score_slices(network, stack, c=1, methods=METHODS).map(method)
    np.testing.assert_allclose(alone, together, rtol=1e-5, atol=1e-7 * together.max())


def test_a_slice_does_not_depend_on_its_neighbours(network, stack):
    together = score_slices(network, stack, c=1, methods=METHODS)
    one = SliceStack(stack.pixels[3:4], stack.mask[3:4], stack.positions_mm[3:4], stack.indices[3:4])
    alone = score_slices(network, one, c=1, methods=METHODS)
    np.testing.assert_allclose(alone.kl[0], together.kl[3], rtol=1e-5)
    for method in METHODS:
        expected = together.map(method)[3]
        np.testing.assert_allclose(alone.map(method)[0], expected, rtol=1e-4, atol=1e-5 * expected.max())


def test_kl_equals_torch_distributions():
    mu, log_sigma = torch.randn(5, 9), torch.randn(5, 9)
    q = torch.distributions.Normal(mu, log_sigma.exp())
    p = torch.distributions.Normal(torch.zeros(5, 9), torch.ones(5, 9))
    expected = torch.distributions.kl_divergence(q, p).sum(dim=1)
    torch.testing.assert_close(kl_divergence(mu, log_sigma), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("size", [32, 64, 128])
def test_the_network_fits_every_image_size(size):
    x = torch.zeros(2, 1, size, size)
    model = VAE(latents=4, image_size=size)
    mu, log_sigma = model.encode(x)
    assert mu.shape == log_sigma.shape == (2, 4)
    assert model.decode(mu).shape == x.shape


def test_the_default_network_is_the_papers():
    convolutions = [m for m in VAE().encoder if isinstance(m, torch.nn.Conv2d)]
    assert [m.out_channels for m in convolutions] == [16, 32, 64, 256, 512]
    assert all(m.kernel_size == (4, 4) for m in convolutions)
