"""Where a training stands <-> one file, so that it can go on after any interruption."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vae_loc.errors import UnusableModel
from vae_loc.model.vae import VAE
from vae_loc.system.reading import opened
from vae_loc.system.writing import write_atomically
from vae_loc.vocabulary import FloatArray

LEARNING_RATE = 1e-4
MAX_STATE_BYTES = 8_000_000_000  # four times the largest model
STOP_PATIENCE = 3  # more epochs than this without a better loss end the training


def state_of(output: Path) -> Path:
    """Return where the epochs of an unfinished training of a model are kept."""
    return output.with_suffix(".state.safetensors")


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
    tensors = {name: np.asarray(value, order="C") for name, value in tensors.items()}  # as safetensors 0.8 needs them
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
    tensors, stated = _read(path)
    if stated["run"] != run:
        raise UnusableModel(path, "is of other scans or options; give the same ones, or train without --resume")
    try:
        history = _history(stated["history"])
        groups = _groups(tensors, model)
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise UnusableModel(
            path, f"cannot be resumed: its content is wrong ({error}); train without --resume"
        ) from error
    model.load_state_dict({name: torch.from_numpy(value) for name, value in groups["model"].items()})
    adam: dict[int, dict[str, Tensor]] = {}
    for name, value in groups["adam"].items():
        index, _, moment = name.partition(".")
        adam.setdefault(int(index), {})[moment] = torch.from_numpy(value)
    optimizer.load_state_dict({"state": adam, "param_groups": optimizer.state_dict()["param_groups"]})
    for group in optimizer.param_groups:
        group["lr"] = history.learning_rate
    return groups["best"], history


def _read(path: Path) -> tuple[dict[str, FloatArray], dict[str, Any]]:
    """Return the tensors of a state file and what it states, proved whole."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    with opened(path, "a training's state", UnusableModel) as file:
        raw = file.read(MAX_STATE_BYTES)
    try:
        tensors = load(raw)
        metadata = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])["__metadata__"]
        if _digest(metadata["facts"], tensors) != metadata["sha256"]:
            raise ValueError("SHA-256")
        facts = json.loads(metadata["facts"])
        if not isinstance(facts, dict) or facts.keys() != {"history", "run"}:
            raise ValueError("facts")
        return tensors, facts
    except (SafetensorError, KeyError, ValueError, TypeError, RecursionError) as error:
        raise UnusableModel(path, "cannot be resumed: damaged; train without --resume") from error


def _history(stated: dict[str, Any]) -> History:
    """Return a history whose numbers can be.

    Raises
    ------
    ValueError, TypeError : naming what cannot.
    """
    history = History(**stated)
    for name, lowest in (("bad_epochs", 0), ("plateau_epochs", 0)):
        if type(value := getattr(history, name)) is not int or value < lowest:
            raise ValueError(name)
    numbers = [value for row in history.epochs for value in row.values()]
    for name, values in (("best", [history.best]), ("learning_rate", [history.learning_rate]), ("epochs", numbers)):
        if not all(type(value) in (int, float) and (math.isfinite(value) or name == "best") for value in values):
            raise ValueError(name)
    if math.isnan(history.best) or not 0 < history.learning_rate <= 1:
        raise ValueError("best or learning_rate")
    return history


def _groups(tensors: dict[str, FloatArray], model: VAE) -> dict[str, dict[str, FloatArray]]:
    """Return the tensors of the network, of its best epoch, and Adam's moments, by names and shapes of the network.

    Raises
    ------
    ValueError, KeyError : naming a tensor that is missing, unknown, of another type or shape, or not finite.
    """
    shapes = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    expected = {f"{kind}.{name}": shape for kind in ("model", "best") for name, shape in shapes.items()}
    for index, parameter in enumerate(model.parameters()):
        expected |= {f"adam.{index}.{moment}": tuple(parameter.shape) for moment in ("exp_avg", "exp_avg_sq")}
        expected[f"adam.{index}.step"] = ()
    if odd := sorted(expected.keys() ^ tensors.keys()):
        raise ValueError(f"{odd[0]} is missing or unknown")
    groups: dict[str, dict[str, FloatArray]] = {"model": {}, "best": {}, "adam": {}}
    for name, value in tensors.items():
        if value.dtype != np.float32 or value.shape != expected[name] or not np.isfinite(value).all():
            raise ValueError(f"{name} is of another type or shape, or not finite")
        if name.endswith((".exp_avg_sq", ".step")) and value.min(initial=0) < 0:
            raise ValueError(f"{name} is negative")
        kind, _, rest = name.partition(".")
        groups[kind][rest] = value
    return groups


def _digest(facts: str, tensors: dict[str, FloatArray]) -> str:
    content = hashlib.sha256(facts.encode())
    for name in sorted(tensors):
        content.update(name.encode() + np.ascontiguousarray(tensors[name]).tobytes())
    return content.hexdigest()
