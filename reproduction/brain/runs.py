"""Brains: the five maps and the sample-wise scores over size of z, c and image size (Fig. 1 to 3, Table 1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

from reproduction.brain.data import MAPS, Prepared, Source, load_prepared, prepared
from reproduction.sweep import ALONE, Key, Machine, Row, keys_of, sweep
from vae_loc.errors import UnusableInput
from vae_loc.system.progress import BarMaker
from vae_loc.system.writing import write_atomically

if TYPE_CHECKING:
    from vae_loc.model.vae import VAE

BASE: dict[str, object] = {"latents": 256, "c": 1.0, "image_size": 64}
LATENTS = (16, 64, 256, 512)
CS = (0.3, 1.0, 3.0, 10.0)
IMAGE_SIZES = (32, 48, 64, 96)
AXES: tuple[str, ...] = ("default", "latents", "c", "image-size")
SETTING = ("protocol", "latents", "c", "image_size")
QUICK_SIZE = 32


def settings_of(name: str, axes: Sequence[str] = AXES) -> list[dict[str, object]]:
    """Return the settings of some axes, each varied around `BASE`, which comes first; `default` is `BASE` alone."""
    varied: dict[str, list[dict[str, object]]] = {
        "default": [],
        "latents": [{"latents": value} for value in LATENTS],
        "c": [{"c": value} for value in CS],
        "image-size": [{"image_size": value} for value in IMAGE_SIZES],
    }
    changes = [{}, *(change for axis in axes for change in varied[axis])]
    return [{"protocol": name} | BASE | change for change in changes]


def run_brain(
    source: Source,
    folder: Path,
    name: str,
    *,
    axes: Sequence[str] = AXES,
    seeds: int = 5,
    machine: Machine = ALONE,
    quick: bool = False,
    bars: BarMaker,
) -> list[Row]:
    """Prepare every brain once for each image size, then run what is missing of the sweep; return its rows.

    Raises
    ------
    UnusableInput : if a scan cannot be used, or the folder holds another experiment.
    """
    settings = settings_of(name, axes)
    if quick:
        settings = [settings[0] | {"image_size": QUICK_SIZE, "latents": LATENTS[0]}]
    sizes = sorted({int(str(setting["image_size"])) for setting in settings})
    files = {size: prepared(source, folder, size, bars) for size in sizes}
    keys = keys_of(settings, 1 if quick else seeds)
    return sweep(
        keys, partial(perform_run, files, folder, quick, device=machine.device), folder, jobs=machine.jobs, bars=bars
    )


def perform_run(files: dict[int, Path], folder: Path, quick: bool, key: Key, device: str = "cpu") -> dict[str, float]:
    """Train once on `device` and measure every cohort; columns are `cohort/map figure`."""
    from reproduction.brain.measures import maps_of, maps_of_script, measure_cohort
    from reproduction.brain.training import protocol_of

    data = loaded(files[int(key["image_size"])])
    protocol, c = protocol_of(key["protocol"]), float(key["c"])
    model = trained(data, key, quick=quick, device=device)
    if is_base(key) or quick:
        keep_model(model, folder)
    results: dict[str, float] = {}
    for cohort, patients in data.cohorts.items():
        scored = [
            maps_of_script(model, patient.stack, c=c, faults=protocol.faults)
            if protocol.script
            else maps_of(model, patient.stack, c=c, faults=protocol.faults, pixel_mm=data.pixel_mm)
            for patient in patients
        ]
        figures = measure_cohort(patients, [maps for maps, _ in scored], [fields for _, fields in scored])
        results |= {f"{cohort}/{name}": value for name, value in figures.items()}
    return results


def trained(data: Prepared, key: Key, *, quick: bool = False, device: str = "cpu") -> VAE:
    """Return the network of a run."""
    from reproduction.brain.training import QUICK_STEPS, protocol_of, train_brain

    protocol = protocol_of(key["protocol"])
    if quick:
        protocol = replace(protocol, way="constant", epochs=0, steps=QUICK_STEPS)
    latents, c, seed = int(key["latents"]), float(key["c"]), int(key["seed"])
    return train_brain(data.training, data.validation, protocol, latents=latents, c=c, seed=seed, device=device)


def is_base(key: Key) -> bool:
    """Return whether a run is the default setting with the first seed, whose maps are drawn."""
    return key["seed"] == "0" and all(key[name] == str(value) for name, value in BASE.items())


def keep_model(model: VAE, folder: Path) -> None:
    """Keep the weights whose maps are drawn."""
    from safetensors.torch import save

    sizes = {"latents": str(model.latents), "image_size": str(image_size_of(model))}
    write_atomically(folder / "base.safetensors", save(model.state_dict(), metadata=sizes))


def image_size_of(model: VAE) -> int:
    """Return H = W of the slices that a network takes."""
    from torch import nn

    from vae_loc.model.graph import SHRINKAGE

    last = next(layer for layer in reversed(list(model.encoder)) if isinstance(layer, nn.Conv2d))
    size: int = last.kernel_size[0] * SHRINKAGE
    return size


def kept_model(folder: Path) -> VAE:
    """Return the network that `keep_model` kept.

    Raises
    ------
    UnusableInput : if the folder has none.
    """
    from safetensors import safe_open

    from vae_loc.model.vae import VAE

    path = folder / "base.safetensors"
    if not path.exists():
        raise UnusableInput(path, "expected the network of the default setting, found none; run the sweep's first seed")
    with safe_open(path, framework="pt") as file:
        facts = file.metadata()
        model = VAE(latents=int(facts["latents"]), image_size=int(facts["image_size"]))
        model.load_state_dict({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
    return model.requires_grad_(False).eval()


@cache
def loaded(path: Path) -> Prepared:
    """Return prepared slices, read once in a process."""
    return load_prepared(path)


def names_of(rows: Sequence[Row]) -> tuple[list[str], tuple[str, ...]]:
    """Return the cohorts in a table of runs, and the maps."""
    return list(dict.fromkeys(name.partition("/")[0] for name in rows[0] if "/" in name)), MAPS
