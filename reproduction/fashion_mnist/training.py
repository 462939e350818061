"""FashionMNIST: how a protocol trains its VAE, and how it scores an image.

The 54 000 images of nine classes stay in one tensor; there is no loader.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from reproduction.dense_vae import DenseVAE
from vae_loc.model.vae import kl_divergence, squared_error

PIXELS = 784
HIDDEN = 400  # units, as in the paper and in the authors' script
VALIDATION_SHARE = 0.1  # of the images of nine classes, where training may stop early
PLATEAU_FACTOR = 0.1
PLATEAU_PATIENCE = 2  # epochs without a better loss before the rate falls (design [19])
STOP_PATIENCE = 3  # more end the training
MIN_GAIN = 1e-4  # relative: less is no better loss, or noise would train for ever
VALIDATION_SEED = 0
Told = Callable[[int, float], None]  # epoch, loss


@dataclass(frozen=True)
class Protocol:
    """The choices that differ between the paper's text, the authors' script and the fast way.

    Attributes
    ----------
    hidden_layers : of encoder and decoder each; the paper's "3-layer" networks have two
    sigmoid : whether the decoder ends in one
    halved : the script's mismatch: h of the encoder is log sigma in the KL term, and 2 log sigma where z is drawn
    drawn : whether z is drawn for the scores too, else it is mu
    epochs : how many, or None: until a plateau of the validation loss, at most `max_epochs`
    validated : whether a tenth of the images is kept from training
    tied : one copy of a repeated image stands for all (exact for the encoder, see `tied_groups`)
    bf16 : matrix products in 16 bits; weights and losses stay in 32
    """

    hidden_layers: int = 2
    sigmoid: bool = False
    halved: bool = False
    drawn: bool = False
    learning_rate: float = 1e-4
    batch_size: int = 128
    epochs: int | None = None
    max_epochs: int = 200
    validated: bool = True
    tied: bool = False
    bf16: bool = False
    falling: bool = False


@dataclass(frozen=True)
class Scores:
    """Of N images, float64 (N,), in nats; Rec without the constant of the Gaussian."""

    kl: NDArray[np.float64]
    rec: NDArray[np.float64]


@dataclass(frozen=True)
class Setting:
    """The settings that the paper varies: size of z, log c, and how often the pixels are repeated."""

    latents: int
    log_c: float
    scaling: int

    @property
    def c(self) -> float:
        """Standard deviation of p(x|z)."""
        return float(np.exp(self.log_c))


@dataclass
class Plateau:
    """The schedule of the paper's text by the losses of the validation images: when the rate falls, when to stop.

    Attributes
    ----------
    bad, waited : epochs since the best loss, and since that or the last fall of the rate
    lowered : whether the last epoch lowers the rate by `PLATEAU_FACTOR`
    """

    best_loss: float = float("inf")
    bad: int = 0
    waited: int = 0
    lowered: bool = False

    def judge(self, loss: float) -> bool:
        """Take note of an epoch's loss; return whether it is the best so far."""
        better = math.isinf(self.best_loss) or loss < self.best_loss - MIN_GAIN * abs(self.best_loss)
        self.bad, self.waited = (0, 0) if better else (self.bad + 1, self.waited + 1)
        if better:
            self.best_loss = loss
        self.lowered = self.waited > PLATEAU_PATIENCE
        if self.lowered:
            self.waited = 0
        return better

    @property
    def finished(self) -> bool:
        """Whether the loss has not fallen for more than `STOP_PATIENCE` epochs."""
        return self.bad > STOP_PATIENCE


def network_of(protocol: Protocol, setting: Setting) -> DenseVAE:
    """Return a network with new weights; those depend on PyTorch's seed."""
    return DenseVAE(
        pixels=PIXELS * (1 if protocol.tied else setting.scaling),
        latents=setting.latents,
        hidden=(HIDDEN,) * protocol.hidden_layers,
        sigmoid=protocol.sigmoid,
    )


def train(
    images: Tensor, protocol: Protocol, setting: Setting, *, seed: int, told: Told = lambda *_: None
) -> tuple[DenseVAE, int]:
    """Train on images (N, 784) in [0, 1]; return the network, of its best epoch where validated, and the epochs.

    The network is on the device of the images.
    The first weights, the split, the order and the noise depend on `seed` alone, and are the same on every device.
    """
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    model = network_of(protocol, setting).to(images.device)
    optimizer = torch.optim.Adam(tied_groups(model, protocol, setting), lr=protocol.learning_rate, fused=True)
    order = torch.randperm(len(images), generator=generator)
    kept = round(VALIDATION_SHARE * len(images)) if protocol.validated else 0
    validation, training = images[order[:kept]], images[order[kept:]]
    best, plateau, epoch = None, Plateau(), 0
    while epoch < (protocol.epochs or protocol.max_epochs) and not plateau.finished:
        loss = _epoch(model, optimizer, training, protocol, setting, generator, epoch)
        epoch += 1
        if kept:
            noise = torch.Generator().manual_seed(VALIDATION_SEED)
            loss = sum(float(part.mean()) for part in _terms_of(model, validation, protocol, setting, noise))
        told(epoch, loss)
        if protocol.epochs is not None:
            continue
        if plateau.judge(loss):
            best = {name: value.clone() for name, value in model.state_dict().items()}
        if plateau.lowered:
            for group in optimizer.param_groups:
                group["lr"] *= PLATEAU_FACTOR
    if best:
        model.load_state_dict(best)
    return model.eval(), epoch


def tied_groups(model: DenseVAE, protocol: Protocol, setting: Setting) -> list[dict[str, object]]:
    """Return the optimizer's groups; the rate of the encoder's first weights stands for all copies of a pixel.

    An image repeated s times meets the sum of s weights. Their gradients are the same, so Adam moves each
    alike, and the sum s times as far: one weight at s times the rate is the same network. Of the decoder's s
    outputs one stands for all: they differ in their first weights alone, and learn the same target.
    """
    first = model.encoder[0].weight
    rest = [parameter for parameter in model.parameters() if parameter is not first]
    copies = setting.scaling if protocol.tied else 1
    rate = protocol.learning_rate
    return [{"params": rest, "lr": rate}, {"params": [first], "lr": rate * copies}]


def score(model: DenseVAE, images: Tensor, protocol: Protocol, setting: Setting, *, seed: int) -> Scores:
    """Return KL and Rec of images (N, 784)."""
    kl, rec = _terms_of(model, images, protocol, setting, torch.Generator().manual_seed(seed), drawn=protocol.drawn)
    return Scores(kl.double().cpu().numpy(), rec.double().cpu().numpy())


def _epoch(
    model: DenseVAE,
    optimizer: torch.optim.Optimizer,
    images: Tensor,
    protocol: Protocol,
    setting: Setting,
    generator: torch.Generator,
    epoch: int,
) -> float:
    """Train for one epoch; return the mean loss."""
    model.train()
    total = torch.zeros((), device=images.device)
    rates = [group["lr"] for group in optimizer.param_groups]
    batches = torch.randperm(len(images), generator=generator).to(images.device).split(protocol.batch_size)
    for index, chosen in enumerate(batches):
        if protocol.falling and protocol.epochs:
            share = (epoch + index / len(batches)) / protocol.epochs
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * (1 - share)
        x = images[chosen]
        noise = torch.randn(len(x), model.latents, generator=generator).to(x.device)
        kl, rec = terms(model, x, noise, protocol, setting)
        loss = (kl + rec).mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        total += loss.detach() * len(x)
    for group, rate in zip(optimizer.param_groups, rates, strict=True):
        group["lr"] = rate
    return float(total) / len(images)


@torch.no_grad()
def _terms_of(
    model: DenseVAE,
    images: Tensor,
    protocol: Protocol,
    setting: Setting,
    generator: torch.Generator,
    *,
    drawn: bool = True,
) -> tuple[Tensor, Tensor]:
    model.eval()
    parts = []
    for x in images.split(1000):
        noise = torch.randn(len(x), model.latents, generator=generator).to(x.device)
        parts.append(terms(model, x, noise if drawn else torch.zeros_like(noise), protocol, setting))
    kls, recs = zip(*parts, strict=True)
    return torch.cat(kls), torch.cat(recs)


def terms(model: DenseVAE, x: Tensor, noise: Tensor, protocol: Protocol, setting: Setting) -> tuple[Tensor, Tensor]:
    """Return KL and Rec of images (B, 784), each (B,), with z = mu + sigma * noise."""
    copies = setting.scaling
    seen = x if protocol.tied else x.repeat(1, copies)
    with torch.autocast(x.device.type, dtype=torch.bfloat16, enabled=protocol.bf16):
        mu, log_sigma = model.encode(seen)
        sigma = (log_sigma / 2 if protocol.halved else log_sigma).exp()
        expected = model.decode(mu + sigma * noise)
    rec = squared_error(seen, expected, setting.c).sum(dim=1)
    return kl_divergence(mu, log_sigma), rec * (copies if protocol.tied else 1)
