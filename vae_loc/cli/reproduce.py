"""The command that runs the paper's experiments: reproduce."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vae_loc.cli.console import say, talking
from vae_loc.cli.options import Quiet
from vae_loc.errors import UnusableOption, printable

if TYPE_CHECKING:
    from vae_loc.reproduce.brain.data import Source
    from vae_loc.system.progress import Bars


class Experiment(str, Enum):
    """What can be reproduced."""

    fashion_mnist = "fashion-mnist"
    gaussian_mixture = "gaussian-mixture"
    brain = "brain"
    faults = "faults"


class ProtocolChoice(str, Enum):
    """Whose choices."""

    paper = "paper"
    authors = "authors"
    fast = "fast"


@dataclass(frozen=True)
class Sweep:
    """What all experiments share."""

    output: Path
    protocol: str
    seeds: int
    jobs: int
    quick: bool
    axis: tuple[str, ...]


@dataclass(frozen=True)
class Brains:
    """Whose scans `brain` and `faults` take."""

    healthy: list[Path]
    patients: list[Path]
    labels: list[str]
    contrast: str
    synthesize_from: str | None
    pictures: str | None


def reproduce(
    name: Annotated[Experiment, typer.Argument(help="Which experiment.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder; a sweep in it goes on where it was.")],
    protocol: Annotated[
        ProtocolChoice,
        typer.Option(help="The paper's text, the authors' scripts with their faults, or the quickest way."),
    ] = ProtocolChoice.fast,
    seeds: Annotated[int, typer.Option(min=1, max=100, help="Repetitions of every setting.")] = 5,
    jobs: Annotated[int, typer.Option(min=1, help="Processes of one thread each.")] = 1,
    quick: Annotated[bool, typer.Option("--quick", help="A smoke run of a minute; its figures mean nothing.")] = False,
    axis: Annotated[
        list[str] | None, typer.Option(help="Only this axis of the sweep; may be repeated.", show_default=False)
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            help="fashion-mnist: folder of the four .gz files. Default: Debian's package dataset-fashion-mnist.",
            show_default=False,
        ),
    ] = None,
    healthy: Annotated[
        list[Path] | None, typer.Option(help="brain, faults: healthy scans or folders.", show_default=False)
    ] = None,
    patients: Annotated[
        list[Path] | None,
        typer.Option(help="brain, faults: a folder of annotated scans; may be repeated.", show_default=False),
    ] = None,
    labels: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATTERN", help="Annotation of {subject}, one for each --patients, in order.", show_default=False
        ),
    ] = None,
    contrast: Annotated[str, typer.Option(help="brain, faults: what the patients' scans are.")] = "t2",
    synthesize_from: Annotated[
        str | None,
        typer.Option(
            metavar="t1", help="The healthy scans are T1; make them look like --contrast.", show_default=False
        ),
    ] = None,
    pictures: Annotated[
        str | None,
        typer.Option(metavar="COHORT", help="brain: draw six slices of this folder of patients.", show_default=False),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(min=1, help="brain, faults: of a fast training. Default: 2000.", show_default=False),
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Run an experiment of the paper: raw results, table, figure, and a page that compares them with the paper.

    A killed sweep goes on where it was; what is done is not done again.
    Example: vae-loc reproduce fashion-mnist -o fashion --protocol fast --jobs 2
    """
    if steps is not None and (protocol is not ProtocolChoice.fast or name not in (Experiment.brain, Experiment.faults)):
        raise UnusableOption("--steps", "is for brain and faults with --protocol fast")
    chosen = protocol.value if steps is None else f"{protocol.value}-{steps}"
    sweep = Sweep(output, chosen, seeds, jobs, quick, tuple(axis or ()))
    brains = Brains(healthy or [], patients or [], labels or [], contrast, synthesize_from, pictures)
    import torch

    torch.set_num_threads(1)
    with talking(quiet) as bars:
        if name is Experiment.fashion_mnist:
            written = _fashion(sweep, data, bars)
        elif name is Experiment.gaussian_mixture:
            written = _mixture(sweep, bars)
        elif name is Experiment.brain:
            written = _brain(sweep, brains, bars)
        else:
            written = _faults(sweep, brains, bars)
    if not quiet:
        say("\n".join(printable(path) for path in written))


def _fashion(sweep: Sweep, data: Path | None, bars: Bars) -> list[Path]:
    from vae_loc.reproduce.fashion_mnist.page import write_fashion
    from vae_loc.reproduce.fashion_mnist.runs import AXES, DEBIAN_FOLDER, run_fashion

    rows = run_fashion(
        data or DEBIAN_FOLDER,
        sweep.output,
        sweep.protocol,
        axes=_axes(sweep, AXES),
        seeds=sweep.seeds,
        jobs=sweep.jobs,
        quick=sweep.quick,
        bars=bars,
    )
    return write_fashion(rows, sweep.output)


def _mixture(sweep: Sweep, bars: Bars) -> list[Path]:
    from vae_loc.reproduce.gaussian_mixture.page import write_mixture
    from vae_loc.reproduce.gaussian_mixture.runs import run_mixture

    _axes(sweep, ())
    rows = run_mixture(sweep.output, sweep.protocol, seeds=sweep.seeds, jobs=sweep.jobs, quick=sweep.quick, bars=bars)
    return write_mixture(rows, sweep.output, quick=sweep.quick)


def _brain(sweep: Sweep, brains: Brains, bars: Bars) -> list[Path]:
    from vae_loc.reproduce.brain.data import prepared
    from vae_loc.reproduce.brain.page import write_brain
    from vae_loc.reproduce.brain.runs import AXES, BASE, QUICK_SIZE, run_brain

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
        jobs=sweep.jobs,
        quick=sweep.quick,
        bars=bars,
    )
    slices = prepared(source, sweep.output, QUICK_SIZE if sweep.quick else int(str(BASE["image_size"])), bars)
    return write_brain(rows, sweep.output, slices, pictures=brains.pictures)


def _faults(sweep: Sweep, brains: Brains, bars: Bars) -> list[Path]:
    from vae_loc.reproduce.faults.page import write_faults
    from vae_loc.reproduce.faults.runs import run_faults

    _axes(sweep, ())
    source = _source(brains)
    rows = run_faults(
        source, sweep.output, sweep.protocol, seeds=sweep.seeds, jobs=sweep.jobs, quick=sweep.quick, bars=bars
    )
    return write_faults(rows, sweep.output)


def _source(brains: Brains) -> Source:
    from vae_loc.reproduce.brain.data import find_source

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
