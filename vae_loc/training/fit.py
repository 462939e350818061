"""SliceStacks of healthy brains -> weights.

Two schedules. `short` (design [36]): Adam, its rate up to 1e-3 and down to 0 along a cosine, over a set
number of epochs. `plateau`, the paper's (Zimmerer et al. 2019, section 2.3): Adam 1e-4, x0.1 on a plateau
of the validation -ELBO, stop when it has not fallen for more than 3 epochs. Every epoch draws from its
own seeded generator, so a resumed run goes the way of an uninterrupted one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from vae_loc.errors import TrainingDiverged
from vae_loc.model.vae import VAE, negative_elbo
from vae_loc.preprocessing.slices import SliceStack, substantial
from vae_loc.system.threads import threads
from vae_loc.training.augmentation import add_coarse_noise, augment
from vae_loc.training.distributed import ProcessGroup
from vae_loc.training.resume_state import LEARNING_RATE, History, fingerprint, restore_state, save_state, weights_of
from vae_loc.vocabulary import FloatArray

Schedule = Literal["short", "plateau"]
Precision = Literal["fp32", "bf16"]

PEAK_LEARNING_RATE = 1e-3  # of the short schedule
WARM_UP = 0.1  # of its steps
SHORT_STEPS = 850  # more make a better model of the cohort and no better detector (design [79])
SYNTHESIZED_STEPS = 1700  # of appearances that are made: not tried with fewer
PLATEAU_FACTOR = 0.1
PLATEAU_PATIENCE = 2  # epochs without a better loss before the rate falls
ALONE = ProcessGroup()
VALIDATION_SEED = 0  # the validation noise is the same in every epoch

Progress = Callable[[int, int, int, float, float], None]  # epoch, batch, batches, KL, Rec


@dataclass(frozen=True)
class FitOptions:
    """How a network learns.

    Attributes
    ----------
    latents : size of z
    c : standard deviation of p(x|z)
    epochs : how many, or at most how many under `plateau`
    coarse_noise_sd : of `add_coarse_noise` at its strongest, in the brain's standard deviations
    precision : of the network's products while it learns; `bf16` is faster (docs/measured/speed.md); weights stay
        float32
    """

    latents: int = 256
    c: float = 1.0
    epochs: int = 100
    batch_size: int = 64
    seed: int = 0
    schedule: Schedule = "short"
    coarse_noise_sd: float = 0.0
    precision: Precision = "fp32"

    def stated(self) -> str:
        """Return all that a run depends on but slices and processes, as its state file names it."""
        way = f"{self.schedule} {self.epochs}" if self.schedule == "short" else self.schedule
        way += " bf16" if self.precision == "bf16" else ""
        return f"{self.latents} {self.c} {self.batch_size} {self.seed} {way} {self.coarse_noise_sd}"


@dataclass(frozen=True)
class _Epoch:
    """One pass over the slices: its batches (indices), its random numbers, its learning rate by share done."""

    number: int
    batches: Sequence[Tensor]
    generator: torch.Generator
    rate: Callable[[float], float]


def join_slices(stacks: Sequence[SliceStack]) -> FloatArray:
    """Return the slices of all stacks with enough brain to learn from, (N, H, W)."""
    return np.concatenate([stack.pixels[substantial(stack)] for stack in stacks])


class NegativeElbo(nn.Module):
    """KL and Rec of slices as one module, so that its gradients can be shared between processes."""

    def __init__(self, model: VAE, c: float, precision: Precision) -> None:
        super().__init__()
        self.model, self.c, self.bf16 = model, c, precision == "bf16"

    def forward(self, seen: Tensor, target: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return KL and Rec of each slice, each (B,), for slices `seen` and what they should become."""
        noise = torch.randn(len(seen), self.model.latents, generator=generator).to(seen.device)
        with torch.autocast(seen.device.type, dtype=torch.bfloat16, enabled=self.bf16):
            return negative_elbo(self.model, seen, noise, c=self.c, target=target)


def short_epochs(slices: int, batch_size: int, *, steps: int = SHORT_STEPS) -> int:
    """Return how many epochs make so many steps."""
    return max(1, round(steps * batch_size / max(1, slices)))


def train_vae(
    training: FloatArray,
    validation: FloatArray,
    options: FitOptions,
    *,
    group: ProcessGroup = ALONE,
    state: Path | None = None,
    resume: bool = False,
    progress: Progress | None = None,
) -> tuple[dict[str, FloatArray], History]:
    """Train a VAE and return the weights of its best epoch, and its history.

    Parameters
    ----------
    training, validation : float32 (N, H, W) slices of different subjects
    group : the processes that train together, each on its part of a batch, and the device of this one
    state : where each epoch is saved for `resume`; None saves nothing

    Raises
    ------
    TrainingDiverged : if a loss is NaN or infinite.
    UnusableModel : if `state` is damaged, or of other slices, options or network.
    """
    torch.set_num_threads(threads())
    torch.manual_seed(options.seed)
    model = VAE(latents=options.latents, image_size=training.shape[1]).to(group.device)
    optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE, fused=True)
    best, history = weights_of(model), History()
    processes = f" {group.size} processes" if group.size > 1 else ""
    run = fingerprint(training, validation, options.stated() + processes)
    if resume and state is not None and state.exists():
        best, history = restore_state(state, model, optimizer, run)
    loss = group.joined(NegativeElbo(model, options.c, options.precision))
    # on a GPU the whole cohort, a few hundred MB, stays there
    x_train, x_valid = (torch.from_numpy(of)[:, None].to(group.device) for of in (training, validation))
    while len(history.epochs) < options.epochs and not (options.schedule == "plateau" and history.finished):
        epoch = _next_epoch(history, len(x_train), options, group)
        row = _train_epoch(loss, optimizer, x_train, epoch, options, group, progress)
        row |= _validate(model, x_valid, options, group)
        if not all(math.isfinite(value) for value in row.values()):
            raise _diverged(epoch.number)
        if row["valid_loss"] < history.best:
            best = weights_of(model)
        _advance(history, row, optimizer)
        if state is not None and group.rank == 0:
            save_state(state, model, optimizer, best, history, run)
    return best, history


def short_rate(share: float) -> float:
    """Return the learning rate after a share of the training, 0 to 1, under the short schedule."""
    if share < WARM_UP:
        return PEAK_LEARNING_RATE * max(share, 0.01) / WARM_UP
    return PEAK_LEARNING_RATE * (1 + math.cos(math.pi * (share - WARM_UP) / (1 - WARM_UP))) / 2


def _generator(*seeds: int) -> torch.Generator:
    mixed = np.random.SeedSequence(seeds).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(mixed) >> 1)


def _next_epoch(history: History, slices: int, options: FitOptions, group: ProcessGroup) -> _Epoch:
    """Return the epoch that follows; the order of the slices is common to all processes, the rest is each one's own."""
    number = len(history.epochs)

    def rate(share: float) -> float:
        if options.schedule == "plateau":
            return history.learning_rate
        return short_rate((number + share) / options.epochs)

    generator = _generator(options.seed, number)
    batches = torch.randperm(slices, generator=generator).split(options.batch_size)
    if group.rank:
        generator = _generator(options.seed, number, group.rank)
    return _Epoch(number, batches, generator, rate)


def _train_epoch(
    loss: NegativeElbo,
    optimizer: torch.optim.Optimizer,
    slices: Tensor,
    epoch: _Epoch,
    options: FitOptions,
    group: ProcessGroup,
    progress: Progress | None,
) -> dict[str, float]:
    """Take a step for each batch; return the mean KL and Rec of the slices."""
    loss.train()
    sums = np.zeros(2)
    for index, chosen in enumerate(epoch.batches):
        for parameters in optimizer.param_groups:
            parameters["lr"] = epoch.rate(index / len(epoch.batches))
        mine = group.part(chosen)
        x = augment(slices[mine if len(mine) else chosen[:1]].to(group.device), epoch.generator)
        seen = add_coarse_noise(x, options.coarse_noise_sd, epoch.generator) if options.coarse_noise_sd else x
        kl, rec = (term[: len(mine)].sum() for term in loss(seen, x, epoch.generator))
        optimizer.zero_grad(set_to_none=True)
        (kl + rec).div(len(chosen) / group.size).backward()
        optimizer.step()
        terms = float(kl.detach()), float(rec.detach())
        if not all(map(math.isfinite, terms)):
            raise _diverged(epoch.number)
        sums += terms
        if progress is not None:
            progress(epoch.number, index + 1, len(epoch.batches), terms[0] / len(x), terms[1] / len(x))
    kl_mean, rec_mean = group.summed(sums) / len(slices)
    return {"train_kl": float(kl_mean), "train_rec": float(rec_mean)}


@torch.no_grad()
def _validate(model: VAE, slices: Tensor, options: FitOptions, group: ProcessGroup) -> dict[str, float]:
    """Return the mean KL, Rec and -ELBO of the validation slices; their noise is the same in each epoch."""
    model.eval()
    generator = torch.Generator().manual_seed(VALIDATION_SEED)
    sums = np.zeros(2)
    for x in slices.split(options.batch_size):
        noise = torch.randn(len(x), model.latents, generator=generator)
        mine = (group.part(part).to(group.device) for part in (x, noise))
        kl, rec = negative_elbo(model, *mine, c=options.c)
        sums += float(kl.sum()), float(rec.sum())
    kl_mean, rec_mean = group.summed(sums) / len(slices)
    return {"valid_kl": float(kl_mean), "valid_rec": float(rec_mean), "valid_loss": float(kl_mean + rec_mean)}


def _advance(history: History, row: dict[str, float], optimizer: torch.optim.Optimizer) -> None:
    """Take note of an epoch, lower the rate on a plateau."""
    better = row["valid_loss"] < history.best
    history.best = min(history.best, row["valid_loss"])
    history.bad_epochs = 0 if better else history.bad_epochs + 1
    history.plateau_epochs = 0 if better else history.plateau_epochs + 1
    history.epochs.append({"epoch": len(history.epochs) + 1, **row, "learning_rate": history.learning_rate})
    if history.plateau_epochs > PLATEAU_PATIENCE:
        history.learning_rate *= PLATEAU_FACTOR
        history.plateau_epochs = 0
    for group in optimizer.param_groups:
        group["lr"] = history.learning_rate


def _diverged(epoch: int) -> TrainingDiverged:
    return TrainingDiverged(
        "training",
        f"the loss of epoch {epoch + 1} is NaN or infinite: --c is too small for these scans, or one is not what "
        "it seems; use a larger --c. No model was written or replaced",
    )
