"""FashionMNIST: KL, Rec and ELBO as sample-wise scores of a class left out (paper 2.3, 3.1, Fig. 1)."""

from __future__ import annotations

from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from reproduction.fashion_mnist.idx import HINT, read_idx
from reproduction.sweep import ALONE, Key, Machine, Row, keys_of, sweep
from vae_loc.errors import UnusableInput
from vae_loc.evaluation.metrics import rank
from vae_loc.system.progress import BarMaker

if TYPE_CHECKING:
    from torch import Tensor

    from reproduction.dense_vae import DenseVAE
    from reproduction.fashion_mnist.training import Protocol, Setting


DEBIAN_FOLDER = Path("/usr/share/datasets/fashion-mnist")  # of the package dataset-fashion-mnist
CLASSES = 10
BASE: dict[str, object] = {"latents": 20, "log_c": 0.0, "scaling": 1, "class": 0}  # the paper's defaults (2.3)
FINE_TUNED: dict[str, object] = {"class": 5}  # the class of which the paper gives figures (3.1)
LATENTS = (2, 5, 10, 20, 50)
LOG_CS = (-1.4, -0.7, 0.0, 0.7, 1.4, 2.1)
SCALINGS = (1, 2, 4, 8)
CLAIM_LOG_CS = (0.0, 1.4)  # the default, and the fine-tuned value of class 5
AXES: tuple[str, ...] = ("claims", "latents", "log-c", "scaling", "class", "class-5", "choices")
SETTING = ("protocol", "change", "latents", "log_c", "scaling", "class")
SCORES = ("kl", "rec", "elbo")
# what the script and the text differ in, a group of `Protocol`'s fields each
CHOICES = {
    "layers": ("hidden_layers",),
    "output": ("sigmoid",),
    "sigma": ("halved", "drawn"),
    "schedule": ("learning_rate", "epochs", "batch_size", "validated", "falling"),
}
QUICK_IMAGES = 2000  # of each set


def protocol_of(name: str, change: str = "") -> Protocol:
    """Return a protocol; with `change`, one group of choices is the other side's: the script's, or the text's."""
    from reproduction.fashion_mnist.training import Protocol

    protocols = {
        "paper": Protocol(),
        "authors": Protocol(
            hidden_layers=1,
            sigmoid=True,
            halved=True,
            drawn=True,
            learning_rate=1e-3,
            epochs=25,
            validated=False,
        ),
        "fast": Protocol(
            hidden_layers=1,
            learning_rate=2e-3,
            batch_size=512,
            epochs=10,
            validated=False,
            tied=True,
            bf16=True,
            falling=True,
        ),
    }
    own, other = protocols[name], protocols["paper" if name == "authors" else "authors"]
    return replace(own, **{field: getattr(other, field) for field in CHOICES.get(change, ())})


def settings_of(name: str, axes: tuple[str, ...] = AXES) -> list[dict[str, object]]:
    """Return the settings of some axes, each varied around `BASE`; `class-5` holds the other axes around class 5."""
    varied: dict[str, list[dict[str, object]]] = {
        "claims": [FINE_TUNED | {"log_c": log_c} for log_c in CLAIM_LOG_CS],
        "latents": [{"latents": value} for value in LATENTS],
        "log-c": [{"log_c": value} for value in LOG_CS],
        "scaling": [{"scaling": value} for value in SCALINGS],
        "class": [{"class": value, "log_c": log_c} for log_c in CLAIM_LOG_CS for value in range(CLASSES)],
        "choices": [
            FINE_TUNED | {"change": change, "log_c": log_c} for log_c in CLAIM_LOG_CS for change in ("", *CHOICES)
        ],
    }
    varied["class-5"] = [FINE_TUNED | change for axis in ("latents", "log-c", "scaling") for change in varied[axis]]
    settings = [{"protocol": name, "change": ""} | BASE | change for axis in axes for change in varied[axis]]
    own = protocol_of(name)
    return [one for one in settings if not one["change"] or protocol_of(name, str(one["change"])) != own]


def run_fashion(
    data: Path,
    folder: Path,
    name: str,
    *,
    axes: tuple[str, ...] = AXES,
    seeds: int = 5,
    machine: Machine = ALONE,
    quick: bool = False,
    bars: BarMaker,
) -> list[Row]:
    """Run what is missing of the sweep in `folder`; return its rows.

    Raises
    ------
    UnusableInput : if the data are missing or not FashionMNIST, or the folder holds another experiment.
    """
    load(data, 1)  # a fault is named before the first process begins
    settings = settings_of(name, axes)
    if quick:
        settings = settings_of(name, ("claims",))
    perform = partial(perform_run, data, QUICK_IMAGES if quick else None, device=machine.device)
    return sweep(keys_of(settings, 1 if quick else seeds), perform, folder, jobs=machine.jobs, bars=bars)


def perform_run(data: Path, images: int | None, key: Key, device: str = "cpu") -> dict[str, float]:
    """Train on nine classes and rank the test images of the tenth against theirs; return the AUROC of each score."""
    from reproduction.fashion_mnist.training import train

    pixels, labels, test_pixels, test_labels = load(data, images)
    setting = setting_of(key)
    protocol = protocol_of(key["protocol"], key["change"])
    if images is not None:
        protocol = replace(protocol, epochs=protocol.epochs and 2, max_epochs=2)
    nine = pixels[labels != int(key["class"])].to(device)
    model, epochs = train(nine, protocol, setting, seed=int(key["seed"]))
    return results_of(model, epochs, test_pixels.to(device), test_labels, key, protocol)


def setting_of(key: Key) -> Setting:
    """Return the setting of a run."""
    from reproduction.fashion_mnist.training import Setting

    return Setting(int(key["latents"]), float(key["log_c"]), int(key["scaling"]))


def results_of(
    model: DenseVAE, epochs: int, pixels: Tensor, labels: Tensor, key: Key, protocol: Protocol
) -> dict[str, float]:
    """Rank test images of the class left out against the others; return a row's results.

    Parameters
    ----------
    pixels : float32 (N, 784) in [0, 1], on the device of the network; labels : int64 (N,), on the CPU
    """
    from reproduction.fashion_mnist.training import score

    scores = score(model, pixels, protocol, setting_of(key), seed=int(key["seed"]))
    odd = (labels == int(key["class"])).numpy()
    results = {"kl": scores.kl, "rec": scores.rec, "elbo": scores.kl + scores.rec}
    areas = {name: rank(odd, values).auroc or np.nan for name, values in results.items()}
    return areas | {"epochs": epochs, "kl_nats": float(scores.kl.mean()), "rec_nats": float(scores.rec.mean())}


@cache
def load(folder: Path, images: int | None = None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return training images and labels, test images and labels; images float32 (N, 784) in [0, 1].

    Raises
    ------
    UnusableInput : naming the file that is missing or is not FashionMNIST's.
    """
    import torch

    parts: list[Tensor] = []
    for kind, count in (("train", 60000), ("t10k", 10000)):
        image_path, label_path = (folder / f"{kind}-{what}-ubyte.gz" for what in ("images-idx3", "labels-idx1"))
        pixels, labels = read_idx(image_path, dimensions=3), read_idx(label_path, dimensions=1)
        if pixels.shape != (count, 28, 28):
            raise UnusableInput(image_path, f"expected {count} images of 28x28, found {pixels.shape}; {HINT}")
        if labels.shape != (count,) or labels.max() >= CLASSES:
            raise UnusableInput(label_path, f"expected {count} labels of {CLASSES} classes; {HINT}")
        flat = pixels[:images].reshape(-1, 784).astype(np.float32) / 255
        parts += [torch.from_numpy(flat), torch.from_numpy(labels[:images].astype(np.int64))]
    return parts[0], parts[1], parts[2], parts[3]
