"""The experiments by name: each is run, and shown beside the paper."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from vae_loc.errors import UnusableOption
from vae_loc.system.progress import BarMaker

if TYPE_CHECKING:
    from reproduction.brain.data import Source

Experiment = Literal["fashion-mnist", "gaussian-mixture", "brain", "faults"]


@dataclass(frozen=True)
class Sweep:
    """The options that all experiments share.

    Attributes
    ----------
    output : the folder of the results; a sweep in it goes on where it was
    protocol : `paper`, `authors`, `fast`, or `fast-<steps>`
    seeds : repetitions of each setting
    jobs : processes of one thread each
    device : where the networks of FashionMNIST and of brains learn: `cpu`, `cuda`, `mps`, or `auto`
    quick : a smoke run whose figures mean nothing
    axis : the axes of the sweep; empty for all
    """

    output: Path
    protocol: str
    seeds: int
    jobs: int
    device: str
    quick: bool
    axis: tuple[str, ...]


@dataclass(frozen=True)
class Brains:
    """The scans of `brain` and `faults`.

    Attributes
    ----------
    patients, labels : folders of annotated scans, and a pattern of annotations for each
    synthesize_from : `t1` if the healthy scans are T1 and are made to look like `contrast`
    pictures : the folder of patients whose slices are drawn
    """

    healthy: Sequence[Path]
    patients: Sequence[Path]
    labels: Sequence[str]
    contrast: str
    synthesize_from: str | None
    pictures: str | None


def run_experiment(
    name: Experiment, sweep: Sweep, brains: Brains, *, data: Path | None = None, bars: BarMaker
) -> list[Path]:
    """Run what an experiment lacks, and write its table, figure and page; return the paths.

    Parameters
    ----------
    data : the folder of FashionMNIST's four files; None takes Debian's

    Raises
    ------
    UnusableOption : if options do not go together.
    UnusableInput : if data are missing, or the folder holds another experiment.
    """
    import torch

    torch.set_num_threads(1)
    if sweep.device != "cpu" and name not in ("fashion-mnist", "brain"):
        raise UnusableOption("--device", f"is for fashion-mnist and brain, and {name} runs on the CPU")
    run: dict[Experiment, Callable[[], list[Path]]] = {
        "fashion-mnist": lambda: _fashion(sweep, data, bars),
        "gaussian-mixture": lambda: _mixture(sweep, bars),
        "brain": lambda: _brain(sweep, brains, bars),
        "faults": lambda: _faults(sweep, brains, bars),
    }
    return run[name]()


def _fashion(sweep: Sweep, data: Path | None, bars: BarMaker) -> list[Path]:
    from reproduction.fashion_mnist.page import write_fashion
    from reproduction.fashion_mnist.runs import AXES, DEBIAN_FOLDER, run_fashion
    from reproduction.sweep import RUNS, Machine, read_rows
    from vae_loc.model.network import resolve_device

    run_fashion(
        data or DEBIAN_FOLDER,
        sweep.output,
        sweep.protocol,
        axes=_axes(sweep, AXES),
        seeds=sweep.seeds,
        machine=Machine(sweep.jobs, resolve_device(sweep.device)),
        quick=sweep.quick,
        bars=bars,
    )
    # the page is of all axes that stand in the folder, not of those asked for now alone
    rows = [row for row in read_rows(sweep.output / RUNS) if row["protocol"] == sweep.protocol]
    return write_fashion(rows, sweep.output)


def _mixture(sweep: Sweep, bars: BarMaker) -> list[Path]:
    from reproduction.gaussian_mixture.page import write_mixture
    from reproduction.gaussian_mixture.runs import run_mixture

    _axes(sweep, ())
    rows = run_mixture(sweep.output, sweep.protocol, seeds=sweep.seeds, jobs=sweep.jobs, quick=sweep.quick, bars=bars)
    return write_mixture(rows, sweep.output, quick=sweep.quick)


def _brain(sweep: Sweep, brains: Brains, bars: BarMaker) -> list[Path]:
    from reproduction.brain.data import prepared
    from reproduction.brain.page import write_brain
    from reproduction.brain.runs import AXES, BASE, QUICK_SIZE, run_brain
    from reproduction.sweep import Machine
    from vae_loc.model.network import resolve_device

    if brains.pictures is not None and brains.pictures not in [place.name for place in brains.patients]:
        raise UnusableOption("--pictures", f"expected the name of a folder of --patients, got {brains.pictures}")
    axes = _axes(sweep, AXES)
    source = _source(brains)
    rows = run_brain(
        source,
        sweep.output,
        sweep.protocol,
        axes=axes,
        seeds=sweep.seeds,
        machine=Machine(sweep.jobs, resolve_device(sweep.device)),
        quick=sweep.quick,
        bars=bars,
    )
    slices = prepared(source, sweep.output, QUICK_SIZE if sweep.quick else int(str(BASE["image_size"])), bars)
    return write_brain(rows, sweep.output, slices, pictures=brains.pictures)


def _faults(sweep: Sweep, brains: Brains, bars: BarMaker) -> list[Path]:
    from reproduction.faults.page import write_faults
    from reproduction.faults.runs import run_faults

    _axes(sweep, ())
    source = _source(brains)
    rows = run_faults(
        source, sweep.output, sweep.protocol, seeds=sweep.seeds, jobs=sweep.jobs, quick=sweep.quick, bars=bars
    )
    return write_faults(rows, sweep.output)


def _source(brains: Brains) -> Source:
    from reproduction.brain.data import find_source

    return find_source(
        brains.healthy,
        brains.patients,
        brains.labels,
        contrast=brains.contrast,
        synthesize_from=brains.synthesize_from,
    )


def _axes(sweep: Sweep, known: tuple[str, ...]) -> tuple[str, ...]:
    """Return the axes asked for, all of them where none was."""
    for name in sweep.axis:
        if name not in known:
            need = f"one of {', '.join(known)}" if known else "none for this experiment"
            raise UnusableOption("--axis", f"expected {need}, got {name}")
    return tuple(name for name in known if not sweep.axis or name in sweep.axis)
