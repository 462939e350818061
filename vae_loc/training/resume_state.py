"""Where a training stands <-> one file, so that it can go on after any interruption."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vae_loc.errors import UnusableModel
from vae_loc.model.vae import VAE
from vae_loc.system.reading import opened
from vae_loc.system.writing import write_atomically
from vae_loc.vocabulary import FloatArray

LEARNING_RATE = 1e-4
STOP_PATIENCE = 3  # more epochs than this without a better loss end the training


@dataclass
class History:
    """How a training went: one row an epoch, the best loss, and what a resumption needs."""

    epochs: list[dict[str, float]] = field(default_factory=list)
    best: float = math.inf
    bad_epochs: int = 0
    plateau_epochs: int = 0
    learning_rate: float = LEARNING_RATE

    @property
    def finished(self) -> bool:
        """True once the loss has not fallen for more than `STOP_PATIENCE` epochs."""
        return self.bad_epochs > STOP_PATIENCE


def fingerprint(training: FloatArray, validation: FloatArray, options: str) -> str:
    """Return a hash of all that a run depends on but the number of epochs: options and slices (N, H, W)."""
    content = hashlib.sha256(f"{options} {training.shape} {validation.shape}".encode())
    for slices in (training, validation):
        content.update(np.ascontiguousarray(slices).tobytes())
    return content.hexdigest()


def weights_of(model: VAE) -> dict[str, FloatArray]:
    """Return a copy of the parameters, float32, by name, in the shapes (...) of the network."""
    return {name: tensor.detach().cpu().numpy().copy() for name, tensor in model.state_dict().items()}


def save_state(
    path: Path, model: VAE, optimizer: torch.optim.Optimizer, best: dict[str, FloatArray], history: History, run: str
) -> None:
    """Write all that `restore_state` needs, with its SHA-256, whole or not at all."""
    from safetensors.numpy import save

    tensors = {f"model.{name}": value for name, value in weights_of(model).items()}
    tensors |= {f"best.{name}": value for name, value in best.items()}
    for index, moments in optimizer.state_dict()["state"].items():
        tensors |= {f"adam.{index}.{name}": value.detach().cpu().numpy() for name, value in moments.items()}
    facts = json.dumps({"history": asdict(history), "run": run})
    write_atomically(path, save(tensors, metadata={"facts": facts, "sha256": _digest(facts, tensors)}))


def restore_state(
    path: Path, model: VAE, optimizer: torch.optim.Optimizer, run: str
) -> tuple[dict[str, FloatArray], History]:
    """Bring model and optimizer to where `save_state` left them; return the best weights and the history.

    Raises
    ------
    UnusableModel : if the file is damaged, or of other slices, options or network.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    with opened(path, "a training's state", UnusableModel) as file:
        raw = file.read()
    try:
        tensors = load(raw)
        metadata = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])["__metadata__"]
        if _digest(metadata["facts"], tensors) != metadata["sha256"]:
            raise ValueError("SHA-256")
        facts = json.loads(metadata["facts"])
        history = History(**facts["history"])
    except (SafetensorError, KeyError, ValueError, TypeError) as error:
        raise UnusableModel(path, "cannot be resumed: damaged; train without --resume") from error
    if facts["run"] != run:
        raise UnusableModel(path, "is of other scans or options; give the same ones, or train without --resume")
    groups: dict[str, dict[str, FloatArray]] = {"model": {}, "best": {}, "adam": {}}
    for name, value in tensors.items():
        kind, _, rest = name.partition(".")
        groups[kind][rest] = value
    try:
        model.load_state_dict({name: torch.from_numpy(value) for name, value in groups["model"].items()})
    except RuntimeError as error:
        raise UnusableModel(path, "cannot be resumed: of another network; train without --resume") from error
    adam: dict[int, dict[str, Tensor]] = {}
    for name, value in groups["adam"].items():
        index, _, moment = name.partition(".")
        adam.setdefault(int(index), {})[moment] = torch.from_numpy(value)
    optimizer.load_state_dict({"state": adam, "param_groups": optimizer.state_dict()["param_groups"]})
    for group in optimizer.param_groups:
        group["lr"] = history.learning_rate
    return groups["best"], history


def _digest(facts: str, tensors: dict[str, FloatArray]) -> str:
    content = hashlib.sha256(facts.encode())
    for name in sorted(tensors):
        content.update(name.encode() + np.ascontiguousarray(tensors[name]).tobytes())
    return content.hexdigest()
