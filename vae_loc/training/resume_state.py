"""The state of an unfinished training <-> one file, so that `--resume` can go on after any interruption."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import torch

from vae_loc.errors import UnusableModel
from vae_loc.model.vae import VAE
from vae_loc.system.reading import opened
from vae_loc.system.versions import versions
from vae_loc.system.writing import write_atomically
from vae_loc.vocabulary import FloatArray

MAX_STATE_BYTES = 8_000_000_000  # four times the largest model
StateTensors = dict[str, FloatArray]
Epochs = list[dict[str, float]]  # the losses of each epoch


def state_of(output: Path) -> Path:
    """Return where the epochs of an unfinished training of a model are kept."""
    return output.with_suffix(".state.safetensors")


def fingerprint(training: FloatArray, validation: FloatArray, options: str) -> str:
    """Return a hash of all that the weights depend on: versions, options and slices (N, H, W)."""
    content = hashlib.sha256(f"{versions()} {options} {training.shape} {validation.shape}".encode())
    for slices in (training, validation):
        content.update(np.ascontiguousarray(slices).tobytes())
    return content.hexdigest()


def weights_of(model: VAE) -> StateTensors:
    """Return a copy of the parameters, float32, by name, in the shapes (...) of the network."""
    return {name: tensor.detach().cpu().numpy().copy() for name, tensor in model.state_dict().items()}


def save_state(
    path: Path, model: VAE, optimizer: torch.optim.Optimizer, best: StateTensors, epochs: Epochs, run: str
) -> None:
    """Write all that `restore_state` needs, with its SHA-256, whole or not at all."""
    from safetensors.numpy import save

    tensors = _named("model", weights_of(model)) | _named("best", best)
    for index, moments in optimizer.state_dict()["state"].items():
        tensors |= _named(f"adam.{index}", {name: value.detach().cpu().numpy() for name, value in moments.items()})
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
                path, "is of other scans, options or versions; give the same ones, or train without --resume"
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


def _named(part: str, tensors: StateTensors) -> StateTensors:
    return {f"{part}.{name}": value for name, value in tensors.items()}


def _part(tensors: StateTensors, part: str) -> StateTensors:
    prefix = f"{part}."
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _digest(facts: str, tensors: StateTensors) -> str:
    content = hashlib.sha256(facts.encode())
    for name in sorted(tensors):
        content.update(name.encode() + np.ascontiguousarray(tensors[name]).tobytes())
    return content.hexdigest()
