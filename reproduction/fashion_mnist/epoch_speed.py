"""FashionMNIST: time of an epoch of each protocol against the authors' loop, in one process.

    python -m reproduction.fashion_mnist.epoch_speed [--images 12800] [--repeats 3]

The authors' loop: a DataLoader with one worker, batches of 128, a sampler over the images of nine classes,
the loss by torch.distributions, loss.item() every step. Its Dataset here scales bytes to floats; theirs goes
through PIL first, which is slower. CPU seconds include the worker's. One thread; an epoch is scaled to 54 000 images.
"""

from __future__ import annotations

import argparse
import platform
import resource
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor, distributions
from torch.utils.data import DataLoader, Dataset, SubsetRandomSampler

from reproduction.dense_vae import DenseVAE
from reproduction.fashion_mnist.runs import DEBIAN_FOLDER, load, protocol_of
from reproduction.fashion_mnist.training import Setting, train
from reproduction.pages import markdown_table
from vae_loc.cli.console import say

EPOCH = 54000
SETTING = Setting(latents=20, log_c=0.0, scaling=1)


class Images(Dataset[tuple[Tensor, int]]):
    """One image and its label at a time."""

    def __init__(self, images: Tensor, labels: Tensor) -> None:
        self.images, self.labels = (images * 255).to(torch.uint8), labels

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        """Return an image as floats, and its label."""
        return self.images[index].float().div(255), int(self.labels[index])


def authors_loop(images: Tensor, labels: Tensor) -> None:
    """Train for one epoch as the authors' script does."""
    data = Images(images, labels)
    loader = DataLoader(data, batch_size=128, sampler=SubsetRandomSampler(range(len(data))), num_workers=1)
    model = DenseVAE(hidden=(400,), sigmoid=True)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    total = 0.0
    for x, _ in loader:
        mu, h = model.encoder(x).chunk(2, dim=1)
        recon = model.decoder(mu + torch.randn_like(h) * (0.5 * h).exp())
        nll = -distributions.Normal(recon, 1.0).log_prob(x).sum(dim=1)
        prior, posterior = distributions.Normal(0.0, 1.0), distributions.Normal(mu, h.exp())
        kl = distributions.kl_divergence(posterior, prior).sum(dim=1)
        optimizer.zero_grad()
        loss = (kl + nll).mean()
        loss.backward()
        total += loss.item()
        optimizer.step()


def ours(name: str, images: Tensor) -> None:
    """Train for one epoch of a protocol."""
    protocol = replace(protocol_of(name), max_epochs=1)
    if protocol.epochs is not None:
        protocol = replace(protocol, epochs=1)
    train(images, protocol, SETTING, seed=0)


def seconds(run: Callable[[], None]) -> tuple[float, float]:
    """Return wall and CPU seconds, workers included."""

    def cpu() -> float:
        uses = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        return sum(use.ru_utime + use.ru_stime for use in uses)

    wall_s, cpu_s = time.perf_counter(), cpu()
    run()
    return time.perf_counter() - wall_s, cpu() - cpu_s


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=12800)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    images, labels, _, _ = load(DEBIAN_FOLDER, options.images)
    runs: dict[str, Callable[[], None]] = {"authors' loop": partial(authors_loop, images, labels)}
    runs |= {f"protocol {name}": partial(ours, name, images) for name in ("authors", "paper", "fast")}
    for run in runs.values():
        run()  # once for the warmth
    turns = [{name: seconds(run) for name, run in runs.items()} for _ in range(options.repeats)]
    base = statistics.median(turn["authors' loop"][1] for turn in turns)
    rows = []
    for name in runs:
        wall, cpu = ([turn[name][side] * EPOCH / options.images for turn in turns] for side in (0, 1))
        cells = [f"{statistics.median(side):.2f} [{min(side):.2f}, {max(side):.2f}]" for side in (cpu, wall)]
        ratio = base / statistics.median(turn[name][1] for turn in turns)
        rows.append([name, f"{3600 / statistics.median(cpu):.0f}", *cells, f"{ratio:.1f}"])
    say(f"{platform.machine()}, torch {torch.__version__}, one thread, {options.repeats} repeats")
    columns = [
        "",
        "epochs per hour of CPU",
        "CPU s per epoch [min, max]",
        "wall s per epoch [min, max]",
        "ratio of CPU",
    ]
    say(markdown_table(columns, rows))


if __name__ == "__main__":
    main()
