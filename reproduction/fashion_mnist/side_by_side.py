"""Train the networks of `python -m reproduction fashion-mnist --protocol paper` side by side, on one GPU.

    python -m reproduction.fashion_mnist.side_by_side -o docs/reproduction/fashion-mnist-paper --seeds 3 --device cuda

A GPU has little to do with one network of this size, and processes that share it wait for each other.
Here networks of one shape are one network with a further axis: matrix products in batches.
First weights, split, order and noise of each are those of `python -m reproduction`; sums are rounded in another order.
Rows that the folder's `runs.csv` lacks are added to it; there `python -m reproduction` finds them and writes table,
figure and page. Processes for several `--shape` need a folder each: they would replace each other's rows.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from reproduction.dense_vae import DenseVAE
from reproduction.fashion_mnist.runs import (
    AXES,
    DEBIAN_FOLDER,
    load,
    protocol_of,
    results_of,
    setting_of,
    settings_of,
)
from reproduction.fashion_mnist.training import (
    PLATEAU_FACTOR,
    VALIDATION_SEED,
    VALIDATION_SHARE,
    Plateau,
    Protocol,
    Setting,
    network_of,
)
from reproduction.sweep import RUNS, Key, keys_of, known_rows, name_of, ordered, row_of
from vae_loc.cli.console import say
from vae_loc.model.vae import LOG_SIGMA_RANGE, kl_divergence, squared_error
from vae_loc.system.reading import to_csv
from vae_loc.system.writing import write_atomically

BETAS, EPSILON = (0.9, 0.999), 1e-8  # of Adam, PyTorch's defaults
PART = 1000  # validation images at once


@dataclass
class Run:
    """One network: what it is to learn, where it is in its schedule, and its best weights."""

    key: Key
    own: Tensor  # indices of the images of nine classes, validation first
    generator: torch.Generator
    rate: float
    plateau: Plateau = field(default_factory=Plateau)
    best: dict[str, Tensor] = field(default_factory=dict)
    epochs: int = 0

    def judge(self, loss: float, weights: dict[str, Tensor]) -> None:
        """Take note of an epoch's validation loss, as `fashion_mnist.training.train` does."""
        self.epochs += 1
        if self.plateau.judge(loss):
            self.best = {name: value.clone() for name, value in weights.items()}
        if self.plateau.lowered:
            self.rate *= PLATEAU_FACTOR

    def done(self, protocol: Protocol) -> bool:
        """Return whether the schedule has ended."""
        return self.plateau.finished or self.epochs >= protocol.max_epochs


class Side:
    """Networks of one shape side by side: weights and Adam's moments, each (R, ...)."""

    def __init__(self, networks: Sequence[DenseVAE], device: str) -> None:
        names = list(networks[0].state_dict())
        self.weights = {
            name: torch.stack([network.state_dict()[name] for network in networks]).to(device).requires_grad_()
            for name in names
        }
        self.moments = [[torch.zeros_like(value) for value in self.weights.values()] for _ in BETAS]
        self.steps = 0

    def terms(self, x: Tensor, noise: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        """Return KL and Rec, each (R, B), of images (R, B, P) with noise (R, B, latents) and c (R, 1, 1)."""
        mu, log_sigma = self._layers("encoder", x).chunk(2, dim=2)
        log_sigma = log_sigma.clamp(*LOG_SIGMA_RANGE)
        expected = self._layers("decoder", mu + log_sigma.exp() * noise)
        return kl_divergence(mu.mT, log_sigma.mT), squared_error(x, expected, c).sum(dim=2)

    def _layers(self, part: str, x: Tensor) -> Tensor:
        names = [name for name in self.weights if name.startswith(part) and name.endswith("weight")]
        for name in names:
            bias = self.weights[name.replace("weight", "bias")]
            x = torch.baddbmm(bias[:, None], x, self.weights[name].mT)
            x = x if name == names[-1] else x.relu()
        return x

    def step(self, loss: Tensor, rates: Tensor) -> None:
        """Take a step of Adam, each network at its own rate (R,)."""
        values = list(self.weights.values())
        gradients = torch.autograd.grad(loss, values)
        self.steps += 1
        with torch.no_grad():
            for moment, beta, power in zip(self.moments, BETAS, (1, 2), strict=True):
                torch._foreach_lerp_(moment, [g**power for g in gradients], 1 - beta)
            first, second = ([1 - beta**self.steps] * len(values) for beta in BETAS)
            below = torch._foreach_sqrt(torch._foreach_div(self.moments[1], second))
            torch._foreach_add_(below, EPSILON)
            moves = torch._foreach_div(torch._foreach_div(self.moments[0], first), below)
            torch._foreach_sub_(values, [rates.view(-1, *[1] * (m.ndim - 1)) * m for m in moves])

    def of(self, place: int) -> dict[str, Tensor]:
        """Return the weights of one network."""
        return {name: value.detach()[place] for name, value in self.weights.items()}

    def keep(self, places: Sequence[int]) -> None:
        """Let the other networks go."""
        self.weights = {name: value.detach()[places].requires_grad_() for name, value in self.weights.items()}
        self.moments = [[value[places] for value in moment] for moment in self.moments]


def train_side_by_side(
    keys: Sequence[Key], pixels: Tensor, labels: Tensor, protocol: Protocol, device: str
) -> Iterator[tuple[Run, DenseVAE]]:
    """Train networks that differ in log c, class and seed alone; yield each with its best weights as it ends.

    Parameters
    ----------
    pixels : float32 (N, 784) in [0, 1], on `device`; labels : int64 (N,), on the CPU
    """
    setting = setting_of(keys[0])
    networks, runs = zip(*(_begun(key, labels, protocol) for key in keys), strict=True)
    side, active = Side(networks, device), list(runs)
    kept = round(VALIDATION_SHARE * len(active[0].own))
    generator = torch.Generator().manual_seed(VALIDATION_SEED)
    parts = [torch.randn(n, setting.latents, generator=generator).to(device) for n in _sizes(kept, PART)]
    with ThreadPoolExecutor(max(1, torch.get_num_threads())) as pool:
        while active:
            of_all = [run.own.to(device) for run in active]
            validation, training = (torch.stack([own[at] for own in of_all]) for at in (slice(kept), slice(kept, None)))
            c = torch.tensor([setting_of(run.key).c for run in active], device=device)[:, None, None]
            rates = torch.tensor([run.rate for run in active], device=device)
            drawn = list(pool.map(lambda run: _drawn(run, len(run.own) - kept, setting, protocol), active))
            order = torch.stack([chosen for chosen, _ in drawn]).to(device)
            noise = torch.stack([noise for _, noise in drawn]).to(device)
            for index, chosen in enumerate(order.split(protocol.batch_size, dim=1)):
                x = pixels[training.gather(1, chosen)].repeat(1, 1, setting.scaling)
                begin = index * protocol.batch_size
                kl, rec = side.terms(x, noise[:, begin : begin + protocol.batch_size], c)
                side.step((kl + rec).mean(dim=1).sum(), rates)
            losses = _validated(side, pixels, validation, parts, c, setting)
            for place, (run, loss) in enumerate(zip(active, losses, strict=True)):
                run.judge(loss, side.of(place))
            for run in active:
                if run.done(protocol):
                    network = network_of(protocol, setting)
                    network.load_state_dict(run.best)
                    yield run, network.to(device).eval()
            going = [place for place, run in enumerate(active) if not run.done(protocol)]
            if len(going) < len(active):
                side.keep(going)
                active = [active[place] for place in going]


def _begun(key: Key, labels: Tensor, protocol: Protocol) -> tuple[DenseVAE, Run]:
    """Return a network with its first weights, and its run, as `train` begins them."""
    own = torch.nonzero(labels != int(key["class"])).flatten()
    torch.manual_seed(int(key["seed"]))
    generator = torch.Generator().manual_seed(int(key["seed"]))
    network = network_of(protocol, setting_of(key))
    return network, Run(key, own[torch.randperm(len(own), generator=generator)], generator, protocol.learning_rate)


def _drawn(run: Run, images: int, setting: Setting, protocol: Protocol) -> tuple[Tensor, Tensor]:
    """Return the order of an epoch (N,) and its noise (N, latents), in the run's own random numbers."""
    order = torch.randperm(images, generator=run.generator)
    sizes = _sizes(images, protocol.batch_size)
    return order, torch.cat([torch.randn(n, setting.latents, generator=run.generator) for n in sizes])


def _sizes(count: int, part: int) -> list[int]:
    return [min(part, count - begin) for begin in range(0, count, part)]


@torch.no_grad()
def _validated(
    side: Side, pixels: Tensor, validation: Tensor, parts: Sequence[Tensor], c: Tensor, setting: Setting
) -> list[float]:
    """Return each network's mean loss of its validation images."""
    total = torch.zeros(len(validation), device=pixels.device)
    for chosen, noise in zip(validation.split(PART, dim=1), parts, strict=True):
        x = pixels[chosen].repeat(1, 1, setting.scaling)
        kl, rec = side.terms(x, noise.expand(len(x), -1, -1), c)
        total += (kl + rec).sum(dim=1)
    losses: list[float] = (total / validation.shape[1]).tolist()
    return losses


def side_by_side(
    keys: Sequence[Key], data: Path, protocol: Protocol, device: str
) -> Iterator[tuple[Key, dict[str, float]]]:
    """Train and score all of these runs, shape by shape; yield each run's results."""
    pixels, labels, test_pixels, test_labels = load(data)
    pixels, test_pixels = pixels.to(device), test_pixels.to(device)
    shapes: dict[tuple[str, str], list[Key]] = {}
    for key in keys:
        shapes.setdefault((key["latents"], key["scaling"]), []).append(key)
    for some in shapes.values():
        for run, network in train_side_by_side(some, pixels, labels, protocol, device):
            yield run.key, results_of(network, run.epochs, test_pixels, test_labels, run.key, protocol)


def main() -> None:
    """Train what the folder's table lacks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--data", type=Path, default=DEBIAN_FOLDER)
    parser.add_argument("--axis", choices=AXES, action="append", help="default: all that the paper varies")
    parser.add_argument("--shape", help="only runs of this size of z and copies of a pixel, for example 20x1")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--device", default="cuda")
    options = parser.parse_args()
    axes = tuple(options.axis or ("claims", "latents", "log-c", "scaling", "class"))
    keys = keys_of(settings_of("paper", axes), options.seeds)
    if options.shape:
        keys = [key for key in keys if f"{key['latents']}x{key['scaling']}" == options.shape]
    options.output.mkdir(parents=True, exist_ok=True)
    table = options.output / RUNS
    rows = known_rows(table, keys)
    missing = [key for key in keys if name_of(key) not in rows]
    began = time.perf_counter()
    for key, results in side_by_side(missing, options.data, protocol_of("paper"), options.device):
        figures = " ".join([*key.values(), *(f"{value:.4g}" for value in results.values())])
        say(f"{time.perf_counter() - began:.0f} s {figures}")
        rows[name_of(key)] = row_of(key, results)
        write_atomically(table, to_csv(ordered(rows, keys)))


if __name__ == "__main__":
    main()
