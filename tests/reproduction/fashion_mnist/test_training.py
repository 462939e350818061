"""The loss of the authors' script, and one tied copy for all."""

from dataclasses import replace

import numpy as np
import torch
from torch import distributions

from reproduction.dense_vae import DenseVAE
from reproduction.fashion_mnist.runs import protocol_of
from reproduction.fashion_mnist.training import Setting, terms, tied_groups


def test_the_scripts_loss_equals_its_transcription():
    torch.manual_seed(0)
    model = DenseVAE(pixels=6, latents=3, hidden=(5,), sigmoid=True)
    x, noise = torch.rand(4, 6), torch.randn(4, 3)
    setting = Setting(latents=3, log_c=0.7, scaling=1)
    kl, rec = terms(model, x, noise, protocol_of("authors"), setting)
    mu, h = model.encoder(x).chunk(2, dim=1)
    prior, posterior = distributions.Normal(0.0, 1.0), distributions.Normal(mu, h.exp())
    recon = model.decoder(mu + noise * (0.5 * h).exp())
    nll = -distributions.Normal(recon, np.exp(0.7)).log_prob(x).sum(dim=1)
    torch.testing.assert_close(kl, distributions.kl_divergence(posterior, prior).sum(dim=1))
    torch.testing.assert_close(rec + 6 * (0.7 + 0.5 * np.log(2 * np.pi)), nll)


def test_one_tied_copy_is_the_encoder_of_a_repeated_image():
    """Three Adam steps with four literal copies, whose decoders begin alike, and with one for all four."""
    torch.manual_seed(0)
    setting = Setting(latents=2, log_c=0.0, scaling=4)
    literal = replace(protocol_of("fast"), bf16=False, tied=False)
    tied = replace(literal, tied=True)
    many, one = DenseVAE(pixels=24, latents=2, hidden=(5,)), DenseVAE(pixels=6, latents=2, hidden=(5,))
    with torch.no_grad():
        for ours, theirs in zip(many.parameters(), one.parameters(), strict=True):
            if ours.shape == theirs.shape:
                theirs.copy_(ours)
        one.encoder[0].weight.copy_(many.encoder[0].weight.unflatten(1, (4, 6)).sum(dim=1))
        for name in ("weight", "bias"):
            first = getattr(many.decoder[-1], name)[:6]
            getattr(one.decoder[-1], name).copy_(first)
            getattr(many.decoder[-1], name).copy_(torch.cat([first] * 4))
    batches = [(torch.rand(8, 6), torch.randn(8, 2)) for _ in range(3)]
    losses = {}
    for model, protocol in ((many, literal), (one, tied)):
        optimizer = torch.optim.Adam(tied_groups(model, protocol, setting), lr=1e-3)
        losses[protocol.tied] = []
        for x, noise in batches:
            loss = sum(part.mean() for part in terms(model, x, noise, protocol, setting))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses[protocol.tied].append(float(loss.detach()))
    np.testing.assert_allclose(losses[True], losses[False], rtol=1e-5)
