"""The five maps are those of the paper, whoever computes them."""

import numpy as np
import pytest
import torch
from support.networks import bare_model, random_vae, score_terms_of

from vae_loc.errors import UnusableModel
from vae_loc.preprocessing.slices import SliceStack
from vae_loc.scoring.slice_scores import score_slices
from vae_loc.vocabulary import METHODS


@pytest.fixture(scope="module")
def vae():
    return random_vae()


@pytest.fixture(scope="module")
def network(vae):
    return score_terms_of(vae)


@pytest.fixture
def stack():
    pixels = np.random.default_rng(0).standard_normal((7, 64, 64)).astype(np.float32)
    return SliceStack(pixels, np.ones(pixels.shape, bool), np.arange(7.0), np.arange(7))


def plain_autograd(vae, x, c):
    """Each score by its own forward pass and `backward`, one slice at a time."""
    maps = {method: [] for method in METHODS}
    for slice_ in x:
        grads = {}
        for term in ("kl", "rec", "elbo"):
            inp = slice_[None].clone().requires_grad_()
            mu, log_sigma = vae.encode(inp)
            kl = (0.5 * (mu**2 + torch.exp(log_sigma) ** 2 - 1) - log_sigma).sum()
            error = (inp - vae.decode(mu)) ** 2 / (2 * c**2)
            {"kl": kl, "rec": error.sum(), "elbo": kl + error.sum()}[term].backward()
            grads[term] = inp.grad.abs()
        maps["rec-error"].append(error.detach())
        for term in grads:
            maps[f"{term}-grad"].append(grads[term])
        maps["combi"].append(grads["kl"] * error.detach())
    return {method: torch.cat(parts)[:, 0].numpy() for method, parts in maps.items()}


@pytest.mark.parametrize("c", [0.5, 1.0, 4.0])
def test_maps_equal_plain_autograd(vae, network, stack, c):
    expected = plain_autograd(vae, torch.from_numpy(stack.pixels)[:, None], c)
    found = score_slices(bare_model(network, c), stack, METHODS)
    for method in METHODS:
        scale = np.abs(expected[method]).max()
        np.testing.assert_allclose(found.map(method), expected[method], rtol=1e-5, atol=1e-5 * scale, err_msg=method)


@pytest.mark.parametrize("method", METHODS)
def test_a_map_does_not_depend_on_the_others_asked_for(network, stack, method):
    alone = score_slices(bare_model(network, 1.0), stack, (method,)).map(method)
    together = score_slices(bare_model(network, 1.0), stack, METHODS).map(method)
    np.testing.assert_allclose(alone, together, rtol=1e-5, atol=1e-7 * together.max())


def test_a_slice_does_not_depend_on_its_neighbours(network, stack):
    together = score_slices(bare_model(network, 1.0), stack, METHODS)
    one = SliceStack(stack.pixels[3:4], stack.mask[3:4], stack.positions_mm[3:4], stack.indices[3:4])
    alone = score_slices(bare_model(network, 1.0), one, METHODS)
    np.testing.assert_allclose(alone.kl[0], together.kl[3], rtol=1e-5)
    for method in METHODS:
        expected = together.map(method)[3]
        np.testing.assert_allclose(alone.map(method)[0], expected, rtol=1e-4, atol=1e-5 * expected.max())


def test_a_network_that_gives_no_finite_numbers_is_refused(stack):
    vae = random_vae()
    with torch.no_grad():
        for parameter in vae.parameters():
            parameter.mul_(1e30)
    with pytest.raises(UnusableModel, match="is not finite for this scan"):
        score_slices(bare_model(score_terms_of(vae), 1.0), stack, ["combi"])
