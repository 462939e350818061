"""The authors' scores equal a transcription of their script."""

import itertools

import numpy as np
import pytest
import torch
from torch import distributions

from reproduction import authors
from vae_loc.model.vae import VAE, kl_divergence
from vae_loc.preprocessing.slices import SliceStack


def fields_of(faults, *, c=0.5):
    torch.manual_seed(0)
    model = VAE(latents=3, image_size=16).requires_grad_(False)
    pixels = np.random.default_rng(0).normal(size=(3, 16, 16)).astype(np.float32)
    stack = SliceStack(pixels, np.ones_like(pixels, dtype=bool), np.zeros(3), np.arange(3))
    return model, torch.from_numpy(pixels)[:, None], authors.score_fields(model, stack, c=c, faults=faults)


def script_terms(model, x, c):
    """KL and NLL as the script has them: sigma goes where log sigma belongs."""
    mu, log_std = model.encoder(x).flatten(1).chunk(2, dim=1)
    posterior = distributions.Normal(mu, log_std.exp().exp())
    kl = distributions.kl_divergence(posterior, distributions.Normal(0.0, 1.0)).sum(dim=1)
    return kl, -distributions.Normal(model.decode(mu), c).log_prob(x)


def test_the_scripts_scores_equal_their_transcription():
    c = 0.5
    model, x, fields = fields_of(authors.Faults(double_exp=True, constant=True))
    seen = x.clone().requires_grad_()
    kl, nll = script_terms(model, seen, c)
    rec = nll.sum(dim=(1, 2, 3))
    gradients = [
        torch.autograd.grad(part.sum(), seen, retain_graph=True)[0].abs()[:, 0] for part in (kl, rec, kl + rec)
    ]
    torch.testing.assert_close(torch.from_numpy(fields.kl).float(), kl.detach())
    torch.testing.assert_close(torch.from_numpy(fields.rec).float(), rec.detach())
    torch.testing.assert_close(torch.from_numpy(fields.error), nll.detach()[:, 0])
    for ours, theirs in zip((fields.kl_gradient, fields.rec_gradient, fields.elbo_gradient), gradients, strict=True):
        torch.testing.assert_close(torch.from_numpy(ours), theirs, rtol=1e-4, atol=1e-5)


def test_the_scripts_smoothing_equals_its_sum_over_neighbours():
    values = np.random.default_rng(1).normal(size=(9, 11)).astype(np.float32)
    weights = {(i, j): np.exp(-(i * i + j * j) / 18) for i, j in itertools.product(range(-3, 4), repeat=2)}
    expected = np.zeros_like(values)
    for (r, s), (i, j) in itertools.product(np.ndindex(values.shape), weights):
        if 0 <= r + i < 9 and 0 <= s + j < 11:
            expected[r, s] += weights[i, j] / sum(weights.values()) * values[r + i, s + j]
    found = authors.smoothed_slices(torch.from_numpy(values)[None, None])[0, 0].numpy()
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_the_scripts_combi_equals_its_transcription():
    _, _, fields = fields_of(authors.Faults(constant=True))
    _, _, scaled = fields_of(authors.Faults(constant=True, min_max=True))
    gradient = torch.from_numpy(fields.kl_gradient)
    batch = (gradient - gradient.min()) / (gradient - gradient.min()).max()
    expected = authors.smoothed_slices(batch[:, None])[:, 0].numpy() * fields.error
    np.testing.assert_allclose(
        authors.script_maps(fields, min_max_fields=scaled)["combi"], expected, rtol=1e-5, atol=1e-6
    )


def test_without_faults_the_scores_are_those_of_the_maps():
    from vae_loc.model.vae import score_terms

    model, x, fields = fields_of(authors.NO_FAULTS, c=1.0)
    residual, kl, rec, kl_gradient, rec_gradient = (part.detach().numpy() for part in score_terms(model, x, 1.0))
    np.testing.assert_allclose(fields.error, residual[:, 0] ** 2 / 2, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(fields.kl_gradient, np.abs(kl_gradient[:, 0]), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(fields.elbo_gradient, np.abs(kl_gradient + rec_gradient)[:, 0], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(fields.kl, kl, rtol=1e-5)
    np.testing.assert_allclose(fields.rec, rec, rtol=1e-5)


def test_the_double_exp_is_least_for_a_vanishing_sigma():
    log_sigma = torch.linspace(-4, 2, 50)[:, None]
    right, double = (authors.kl_of(torch.zeros(50, 1), log_sigma, double_exp=on) for on in (False, True))
    assert float(log_sigma[right.argmin()]) == pytest.approx(0, abs=0.2)
    assert double.argmin() == 0
    torch.testing.assert_close(double, kl_divergence(torch.zeros(50, 1), log_sigma.exp()))
