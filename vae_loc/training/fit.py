"""Slices of healthy brains -> weights.

Two schedules. `short` (design [36]): Adam, its rate up to 1e-3 and down to 0 along a cosine, over a set
number of epochs. `plateau`, the paper's (Zimmerer et al. 2019, section 2.3): Adam 1e-4, x0.1 on a plateau
of the validation -ELBO, stop when it has not fallen for more than 3 epochs. Every epoch draws from its
own seeded generator, so a resumed run has the same steps as an uninterrupted one. The state of an
unfinished training is one file, from which `--resume` goes on after any interruption.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vae_loc.errors import TrainingDiverged, UnusableModel
from vae_loc.model.vae import VAE, negative_elbo
from vae_loc.preprocessing.slices import SliceStack, substantial
from vae_loc.system.onnx_runtime import threads
from vae_loc.system.reading import opened
from vae_loc.system.versions import versions
from vae_loc.system.writing import write_atomically
from vae_loc.training.augmentation import add_coarse_noise, augment
from vae_loc.training.training_options import TrainingOptions
from vae_loc.vocabulary import FloatArray

PEAK_LEARNING_RATE = 1e-3  # of the short schedule
WARM_UP = 0.1  # of its steps
PLATEAU_LEARNING_RATE = 1e-4
PLATEAU_FACTOR = 0.1
PLATEAU_PATIENCE = 2  # epochs without a better loss before the rate falls
STOP_PATIENCE = 3  # more epochs than this without a better loss end the training
VALIDATION_SEED = 0  # the validation noise is the same in every epoch
MAX_STATE_BYTES = 8_000_000_000  # four times the largest model

StateTensors = dict[str, FloatArray]
Epochs = list[dict[str, float]]  # the losses of each epoch
Progress = Callable[[int, float, float], None]  # epoch, KL, Rec


@dataclass(frozen=True)
class History:
    """The losses of each epoch, and the decisions of the schedule that follow from them."""

    epochs: Epochs = field(default_factory=list)

    @property
    def losses(self) -> list[float]:
        """The validation -ELBO of each epoch, nats per slice."""
        return [row["valid_loss"] for row in self.epochs]

    @property
    def best(self) -> float:
        """The lowest of them; infinite before the first epoch."""
        return min(self.losses, default=math.inf)

    @property
    def finished(self) -> bool:
        """Whether the loss has not fallen for more than `STOP_PATIENCE` epochs."""
        return bool(self.epochs) and len(self.epochs) - 1 - self.losses.index(self.best) > STOP_PATIENCE

    @property
    def plateau_rate(self) -> float:
        """The learning rate of the next epoch under `plateau`."""
        rate, best, waited = PLATEAU_LEARNING_RATE, math.inf, 0
        for loss in self.losses:
            waited = 0 if loss < best else waited + 1
            best = min(best, loss)
            if waited > PLATEAU_PATIENCE:
                rate, waited = rate * PLATEAU_FACTOR, 0
        return rate


def join_slices(stacks: Sequence[SliceStack]) -> FloatArray:
    """Return the slices of all stacks with enough brain to learn from, (N, H, W)."""
    return np.concatenate([stack.pixels[substantial(stack)] for stack in stacks])


def short_rate(share: float) -> float:
    """Return the learning rate after a share of the training, 0 to 1, under the short schedule."""
    if share < WARM_UP:
        return PEAK_LEARNING_RATE * max(share, 0.01) / WARM_UP
    return PEAK_LEARNING_RATE * (1 + math.cos(math.pi * (share - WARM_UP) / (1 - WARM_UP))) / 2


def train_vae(
    training: FloatArray,
    validation: FloatArray,
    options: TrainingOptions,
    *,
    device: str = "cpu",
    state: Path | None = None,
    resume: bool = False,
    progress: Progress = lambda *_: None,
) -> tuple[dict[str, FloatArray], History]:
    """Train a VAE and return the weights of its best epoch, and its history.

    Parameters
    ----------
    training, validation : float32 (N, H, W) slices of different subjects
    state : where each epoch is saved for `resume`; None saves nothing

    Raises
    ------
    TrainingDiverged : if a loss is NaN or infinite.
    UnusableModel : if `state` is damaged, or of other slices, options or versions.
    """
    # the seed decides the first weights
    torch.set_num_threads(threads())
    torch.manual_seed(options.seed)
    model = VAE(latents=options.latents, image_size=training.shape[1]).to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=PLATEAU_LEARNING_RATE, fused=True)
    best, epochs = weights_of(model), Epochs()

    # go on where an earlier training of the same slices and options stopped
    run = fingerprint(training, validation, repr(options))
    if resume and state is not None and state.exists():
        best, epochs = restore_state(state, model, optimizer, run)
    history = History(epochs)

    # on a GPU the whole cohort, a few hundred MB, stays there
    x_train, x_valid = (torch.from_numpy(slices)[:, None].to(device) for slices in (training, validation))
    last = options.epochs_of(len(x_train))
    while len(epochs) < last and not (options.schedule == "plateau" and history.finished):
        # one pass over the training slices, then the loss of the validation slices
        row = {"epoch": len(epochs) + 1, **_train_epoch(model, optimizer, x_train, history, options, progress)}
        row |= _validate(model, x_valid, options)
        _refuse_infinite(row.values(), len(epochs))

        # keep the weights of the best epoch, and all that a resumed training needs
        if row["valid_loss"] < history.best:
            best = weights_of(model)
        epochs.append(row)
        if state is not None:
            save_state(state, model, optimizer, best, epochs, run)
    return best, history


def _train_epoch(
    model: VAE,
    optimizer: torch.optim.Optimizer,
    slices: Tensor,
    history: History,
    options: TrainingOptions,
    progress: Progress,
) -> dict[str, float]:
    """Take a step for each batch of slices (N, 1, H, W); return their mean KL and Rec, and the last learning rate."""
    model.train()
    epoch, sums = len(history.epochs), np.zeros(2)
    seed = np.random.SeedSequence([options.seed, epoch]).generate_state(1, np.uint64)[0]
    generator = torch.Generator().manual_seed(int(seed) >> 1)
    batches = torch.randperm(len(slices), generator=generator).split(options.batch_size)
    for index, chosen in enumerate(batches):
        # the learning rate of this step
        share = (epoch + index / len(batches)) / options.epochs_of(len(slices))
        rate = history.plateau_rate if options.schedule == "plateau" else short_rate(share)
        optimizer.param_groups[0]["lr"] = rate

        # the network sees the slices with coarse noise; the clean ones are the target
        x = augment(slices[chosen], generator)
        seen = add_coarse_noise(x, options.noise_sd, generator) if options.noise_sd else x
        noise = torch.randn(len(x), model.latents, generator=generator).to(x.device)
        kl, rec = (term.sum() for term in negative_elbo(model, seen, noise, c=options.c, target=x))

        # one step of Adam down the mean of the batch
        optimizer.zero_grad(set_to_none=True)
        (kl + rec).div(len(x)).backward()
        optimizer.step()

        # a diverged training ends here, with the last good epoch in its state
        terms = float(kl.detach()), float(rec.detach())
        _refuse_infinite(terms, epoch)
        sums += terms
        progress(epoch, terms[0] / len(x), terms[1] / len(x))
    kl_mean, rec_mean = (sums / len(slices)).tolist()
    return {"train_kl": kl_mean, "train_rec": rec_mean, "learning_rate": optimizer.param_groups[0]["lr"]}


@torch.no_grad()
def _validate(model: VAE, slices: Tensor, options: TrainingOptions) -> dict[str, float]:
    """Return the mean KL, Rec and -ELBO of validation slices (N, 1, H, W); their noise is the same in each epoch."""
    model.eval()
    generator = torch.Generator().manual_seed(VALIDATION_SEED)
    sums = np.zeros(2)
    for x in slices.split(options.batch_size):
        noise = torch.randn(len(x), model.latents, generator=generator).to(x.device)
        kl, rec = negative_elbo(model, x, noise, c=options.c)
        sums += float(kl.sum()), float(rec.sum())
    kl_mean, rec_mean = (sums / len(slices)).tolist()
    return {"valid_kl": kl_mean, "valid_rec": rec_mean, "valid_loss": kl_mean + rec_mean}


def _refuse_infinite(losses: Iterable[float], epoch: int) -> None:
    if not all(map(math.isfinite, losses)):
        raise TrainingDiverged(
            "training",
            f"the loss of epoch {epoch + 1} is NaN or infinite: --c is too small for these scans, or one is not what "
            "it seems; use a larger --c. No model was written or replaced",
        )


def state_of(output: Path) -> Path:
    """Return where the epochs of an unfinished training of a model are kept."""
    return output.with_suffix(".state.safetensors")


def fingerprint(training: FloatArray, validation: FloatArray, options: str) -> str:
    """Return a hash of all that the weights depend on: versions, options and slices (N, H, W)."""
    facts = f"{versions()} {options} {training.shape} {validation.shape}"
    return _digest(facts, {"training": training, "validation": validation})


def weights_of(model: VAE) -> StateTensors:
    """Return a copy of the parameters, float32, by name, in the shapes (...) of the network."""
    return {name: tensor.detach().cpu().numpy().copy() for name, tensor in model.state_dict().items()}


def save_state(
    path: Path, model: VAE, optimizer: torch.optim.Optimizer, best: StateTensors, epochs: Epochs, run: str
) -> None:
    """Write all that `restore_state` needs, with its SHA-256, whole or not at all."""
    from safetensors.numpy import save

    tensors = {f"model.{name}": value for name, value in weights_of(model).items()}
    tensors |= {f"best.{name}": value for name, value in best.items()}
    for index, moments in optimizer.state_dict()["state"].items():
        tensors |= {f"adam.{index}.{name}": value.detach().cpu().numpy() for name, value in moments.items()}
    tensors = {name: np.asarray(value, order="C") for name, value in tensors.items()}  # as safetensors 0.8 needs them
    facts = json.dumps({"epochs": epochs, "run": run})
    write_atomically(path, save(tensors, metadata={"facts": facts, "sha256": _digest(facts, tensors)}))


def restore_state(path: Path, model: VAE, optimizer: torch.optim.Optimizer, run: str) -> tuple[StateTensors, Epochs]:
    """Bring model and optimizer to where `save_state` left them; return the best weights and the epochs done.

    Raises
    ------
    UnusableModel : if the file is damaged, or of another run.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    with opened(path, "a training's state", UnusableModel) as file:
        raw = file.read(MAX_STATE_BYTES)
    try:
        # the file is whole, and of this run
        tensors = load(raw)
        metadata = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])["__metadata__"]
        if _digest(metadata["facts"], tensors) != metadata["sha256"]:
            raise ValueError("SHA-256")
        facts = json.loads(metadata["facts"])
        if facts["run"] != run:
            raise UnusableModel(
                path, "is of other scans, options or versions; give the same ones, or leave out --resume"
            )
        epochs = [{name: float(value) for name, value in row.items()} for row in facts["epochs"]]

        # give the network its weights, and Adam its moments
        model.load_state_dict({name: torch.from_numpy(value) for name, value in _part(tensors, "model").items()})
        moments: dict[int, dict[str, torch.Tensor]] = {}
        for name, value in _part(tensors, "adam").items():
            index, _, moment = name.partition(".")
            moments.setdefault(int(index), {})[moment] = torch.from_numpy(value)
        optimizer.load_state_dict({"state": moments, "param_groups": optimizer.state_dict()["param_groups"]})
    except (SafetensorError, LookupError, ValueError, TypeError, AttributeError, RuntimeError) as error:
        raise UnusableModel(path, "cannot be resumed: damaged; train without --resume") from error
    return _part(tensors, "best"), epochs


def _part(tensors: StateTensors, part: str) -> StateTensors:
    prefix = f"{part}."
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _digest(facts: str, tensors: StateTensors) -> str:
    content = hashlib.sha256(facts.encode())
    for name in sorted(tensors):
        content.update(name.encode() + np.ascontiguousarray(tensors[name]).tobytes())
    return content.hexdigest()
