"""The network and its terms are the paper's."""

import pytest
import torch

from vae_loc.model.vae import VAE, kl_divergence


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
