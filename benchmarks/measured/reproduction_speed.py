"""FashionMNIST: time of an epoch of each protocol against the authors' loop, in one process.

    python -m benchmarks.measured.reproduction_speed [--images 12800] [--repeats 3]

The authors' loop: a DataLoader with one worker, batches of 128, a sampler over the images of nine classes,
the loss by torch.distributions, loss.item() every step. Its Dataset here scales bytes to floats; theirs goes
through PIL first, which is slower. CPU seconds include the worker's. One thread; an epoch is scaled to 54 000 images.
"""

from __future__ import annotations

import platform
import resource
import statistics
import time

import torch
from torch import distributions
from torch.utils.data import DataLoader, Dataset, SubsetRandomSampler

from benchmarks.command import parser_of
from reproduction.dense_vae import DenseVAE
from reproduction.fashion_mnist.runs import DEBIAN_FOLDER, load, protocol_of
from reproduction.fashion_mnist.training import Setting, train

EPOCH = 54000
SETTING = Setting(latents=20, log_c=0.0, scaling=1)


class Images(Dataset):
    """One image and its label at a time."""

    def __init__(self, images, labels):
        self.images, self.labels = (images * 255).to(torch.uint8), labels

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return self.images[index].float().div(255), int(self.labels[index])


def authors_loop(images, labels):
    """One epoch as their script has it."""
    data = Images(images, labels)
    loader = DataLoader(data, batch_size=128, sampler=SubsetRandomSampler(range(len(data))), num_workers=1)
    model = DenseVAE(hidden=(400,), sigmoid=True)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    total = 0.0
    for x, _ in loader:
        mu, h = model.encoder(x).chunk(2, dim=1)
        recon = model.decoder(mu + torch.randn_like(h) * (0.5 * h).exp())
        nll = -distributions.Normal(recon, 1.0).log_prob(x).sum(dim=1)
        prior, posterior = distributions.Normal(0, 1.0), distributions.Normal(mu, h.exp())
        kl = distributions.kl_divergence(posterior, prior).sum(dim=1)
        optimizer.zero_grad()
        loss = (kl + nll).mean()
        loss.backward()
        total += loss.item()
        optimizer.step()
    return total


def ours(name, images):
    """One epoch of a protocol."""
    from dataclasses import replace

    protocol = replace(protocol_of(name), max_epochs=1)
    if protocol.epochs is not None:
        protocol = replace(protocol, epochs=1)
    train(images, protocol, SETTING, seed=0)


def seconds(run):
    """Wall and CPU seconds, workers included."""

    def cpu():
        return sum(
            use.ru_utime + use.ru_stime
            for use in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        )

    wall_s, cpu_s = time.perf_counter(), cpu()
    run()
    return time.perf_counter() - wall_s, cpu() - cpu_s


def main():
    """Print the table."""
    parser = parser_of(__doc__)
    parser.add_argument("--images", type=int, default=12800)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    images, labels, _, _ = load(DEBIAN_FOLDER, options.images)
    runs = {
        "authors' loop": lambda: authors_loop(images, labels),
        **{f"protocol {name}": lambda name=name: ours(name, images) for name in ("authors", "paper", "fast")},
    }
    times = {name: [] for name in runs}
    for run in runs.values():
        run()  # once for the warmth
    for _ in range(options.repeats):
        for name, run in runs.items():
            times[name].append(seconds(run))
    print(
        f"{platform.processor() or platform.machine()}, torch {torch.__version__}, one thread, {options.repeats} repeats"
    )
    print("| | epochs an hour of CPU | CPU s an epoch [min, max] | wall s an epoch [min, max] | ratio of CPU |")
    print("|---|--:|--:|--:|--:|")
    base = statistics.median(cpu for _, cpu in times["authors' loop"])
    for name, found in times.items():
        scaled = [[part * EPOCH / options.images for part in side] for side in zip(*found, strict=True)]
        cells = [f"{statistics.median(side):.2f} [{min(side):.2f}, {max(side):.2f}]" for side in scaled]
        middle = statistics.median(scaled[1])
        ratio = base / statistics.median(cpu for _, cpu in found)
        print(f"| {name} | {3600 / middle:.0f} | {cells[1]} | {cells[0]} | {ratio:.1f} |")


if __name__ == "__main__":
    main()
