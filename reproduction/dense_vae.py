"""The fully connected VAE of the experiments with FashionMNIST and the Gaussian mixture."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

from vae_loc.model.vae import LOG_SIGMA_RANGE


class DenseVAE(nn.Module):
    """The fully connected VAE of the paper's FashionMNIST experiments, for flat images (B, pixels).

    Parameters
    ----------
    latents : size of z
    hidden : widths of the hidden layers of the encoder; the decoder mirrors them
    sigmoid : whether g(z) is kept between 0 and 1
    """

    def __init__(
        self, *, pixels: int = 784, latents: int = 20, hidden: tuple[int, ...] = (400, 400), sigmoid: bool = False
    ) -> None:
        super().__init__()
        self.latents = latents
        self.encoder = _dense((pixels, *hidden, 2 * latents))
        self.decoder = _dense((latents, *hidden[::-1], pixels))
        if sigmoid:
            self.decoder.append(nn.Sigmoid())

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return mu and log sigma of q(z|x), each (B, latents), for images (B, pixels)."""
        mu, log_sigma = self.encoder(x).float().chunk(2, dim=1)
        return mu, log_sigma.clamp(*LOG_SIGMA_RANGE)

    def decode(self, z: Tensor) -> Tensor:
        """Return g(z), (B, pixels), for z (B, latents)."""
        decoded: Tensor = self.decoder(z)
        return decoded.float()


def _dense(widths: tuple[int, ...]) -> nn.Sequential:
    """Return linear layers of these widths with ReLU between them."""
    layers: list[nn.Module] = []
    for wide, next_wide in pairwise(widths):
        layers += [nn.Linear(wide, next_wide), nn.ReLU()]
    return nn.Sequential(*layers[:-1])
