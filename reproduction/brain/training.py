"""Training of the convolutional VAE of the brain experiments by protocol; the slices stay in one array."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from reproduction.authors import ALL_FAULTS, NO_FAULTS, Faults, kl_of
from vae_loc.model.vae import VAE, squared_error
from vae_loc.training.augmentation import augment
from vae_loc.training.fit import short_rate, train_vae
from vae_loc.training.training_options import TrainingOptions

PAPER_RATE = 1e-4
PAPER_EPOCHS = 300  # at most, until the plateau
SCRIPT_EPOCHS = 5
FAST_STEPS = 2000  # KL-Grad is chance after 1000, see docs/reproduction
QUICK_STEPS = 10
Way = Literal["plateau", "constant", "falling"]


@dataclass(frozen=True)
class BrainProtocol:
    """The choices that differ between the paper's text, the authors' script and the fast way.

    Attributes
    ----------
    way : of the learning rate: the paper's plateau; 1e-4 all along; up to 1e-3 and down a cosine
    epochs, steps : how long; one of them, none under `plateau`
    faults : of the loss and of the scores
    script : whether maps are smoothed and AUROC is pooled, background included, as the script does
    bf16 : products in 16 bits while training
    """

    way: Way
    faults: Faults = NO_FAULTS
    script: bool = False
    epochs: int = 0
    steps: int = 0
    batch_size: int = 64
    bf16: bool = False


PROTOCOLS = {
    "paper": BrainProtocol("plateau"),
    "authors": BrainProtocol("constant", ALL_FAULTS, script=True, epochs=SCRIPT_EPOCHS),
    "fast": BrainProtocol("falling", steps=FAST_STEPS, batch_size=32, bf16=True),
}


def protocol_of(name: str) -> BrainProtocol:
    """Return a protocol; `fast-2000` is `fast` with 2000 steps."""
    head, _, steps = name.partition("-")
    return replace(PROTOCOLS[head], steps=int(steps)) if steps else PROTOCOLS[head]


def train_brain(
    training: NDArray[np.float16],
    validation: NDArray[np.float16],
    protocol: BrainProtocol,
    *,
    latents: int,
    c: float,
    seed: int,
    device: str = "cpu",
) -> VAE:
    """Train on slices (N, H, W) on `device`; return the network on the CPU, its parameters frozen."""
    if protocol.way == "plateau":
        weights, _ = train_vae(
            training.astype(np.float32),
            validation.astype(np.float32),
            TrainingOptions(
                latents=latents,
                c=c,
                seed=seed,
                schedule="plateau",
                coarse_noise_sd=0.0,
                epochs=PAPER_EPOCHS,
                batch_size=protocol.batch_size,
            ),
            device=device,
        )
        model = VAE(latents=latents, image_size=training.shape[1])
        model.load_state_dict({name: torch.from_numpy(value) for name, value in weights.items()})
        return model.requires_grad_(False).eval()
    return _train_steps(training, protocol, latents=latents, c=c, seed=seed, device=device)


def _train_steps(
    slices: NDArray[np.float16], protocol: BrainProtocol, *, latents: int, c: float, seed: int, device: str
) -> VAE:
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    model = VAE(latents=latents, image_size=slices.shape[1]).to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=PAPER_RATE, fused=True)
    steps = protocol.steps or protocol.epochs * len(slices) // protocol.batch_size
    for step in range(steps):
        if protocol.way == "falling":
            optimizer.param_groups[0]["lr"] = short_rate(step / steps)
        chosen = torch.randint(len(slices), (protocol.batch_size,), generator=generator).numpy()
        x = augment(torch.from_numpy(slices[chosen].astype(np.float32))[:, None].to(device), generator)
        noise = torch.randn(len(x), latents, generator=generator).to(device)
        with torch.autocast(x.device.type, dtype=torch.bfloat16, enabled=protocol.bf16):
            mu, log_sigma = (part.float() for part in model.encode(x))
            expected = model.decode(mu + log_sigma.exp() * noise).float()
        kl = kl_of(mu, log_sigma, double_exp=protocol.faults.double_exp)
        loss = (kl + squared_error(x, expected, c).flatten(1).sum(dim=1)).mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
    return model.cpu().requires_grad_(False).eval()
