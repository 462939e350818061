"""The command `python -m reproduction`, which runs the experiments of the paper."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import typer

from vae_loc.__main__ import main
from vae_loc.cli.console import say, talking
from vae_loc.cli.option_groups import with_groups
from vae_loc.cli.options import Quiet
from vae_loc.errors import UnusableOption, printable

app = typer.Typer(
    name="python -m reproduction",
    no_args_is_help=True,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)


@dataclass(frozen=True)
class SweepOptions:
    """Options of a run of an experiment."""

    protocol: Annotated[
        Literal["paper", "authors", "fast"],
        typer.Option(help="The paper's text, the authors' scripts with their faults, or the quickest way."),
    ] = "fast"
    seeds: Annotated[int, typer.Option(min=1, max=100, help="Repetitions of every setting.")] = 5
    jobs: Annotated[int, typer.Option(min=1, help="Processes of one thread each.")] = 1
    device: Annotated[
        str, typer.Option(help="fashion-mnist, brain: cpu, cuda, cuda:N, mps, or auto. Several --jobs may share a GPU.")
    ] = "cpu"
    quick: Annotated[bool, typer.Option("--quick", help="A smoke run of a minute; its figures mean nothing.")] = False
    axis: Annotated[
        list[str] | None, typer.Option(help="Only this axis of the sweep; may be repeated.", show_default=False)
    ] = None
    steps: Annotated[
        int | None,
        typer.Option(min=1, help="brain, faults: steps of a fast training. Default: 2000.", show_default=False),
    ] = None

    def chosen_protocol(self, experiment: str) -> str:
        """Return the protocol as the tables name it: `fast-<steps>` where steps were chosen."""
        if self.steps is None:
            return self.protocol
        if self.protocol != "fast" or experiment not in ("brain", "faults"):
            raise UnusableOption("--steps", "is for brain and faults with --protocol fast")
        return f"{self.protocol}-{self.steps}"


@dataclass(frozen=True)
class DataOptions:
    """Data that an experiment learns from and is measured on."""

    data: Annotated[
        Path | None,
        typer.Option(
            help="fashion-mnist: folder of the four .gz files. Default: Debian's package dataset-fashion-mnist.",
            show_default=False,
        ),
    ] = None
    healthy: Annotated[
        list[Path] | None, typer.Option(help="brain, faults: healthy scans or folders.", show_default=False)
    ] = None
    patients: Annotated[
        list[Path] | None,
        typer.Option(help="brain, faults: a folder of annotated scans; may be repeated.", show_default=False),
    ] = None
    labels: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATTERN", help="Annotation of {subject}, one for each --patients, in order.", show_default=False
        ),
    ] = None
    contrast: Annotated[str, typer.Option(help="brain, faults: what the patients' scans are.")] = "t2"
    synthesize_from: Annotated[
        str | None,
        typer.Option(
            metavar="t1", help="The healthy scans are T1; make them look like --contrast.", show_default=False
        ),
    ] = None
    pictures: Annotated[
        str | None,
        typer.Option(metavar="COHORT", help="brain: draw six slices of this folder of patients.", show_default=False),
    ] = None


@app.command()
@with_groups
def run(
    name: Annotated[
        Literal["fashion-mnist", "gaussian-mixture", "brain", "faults"], typer.Argument(help="Which experiment.")
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder; a sweep in it goes on where it was.")],
    sweep: SweepOptions,
    data: DataOptions,
    quiet: Quiet = False,
) -> None:
    """Run an experiment of the paper: raw results, table, figure, and a page that compares them with the paper.

    A killed sweep goes on where it was; what is done is not done again.
    Example: python -m reproduction fashion-mnist -o fashion --protocol fast --jobs 2
    """
    from reproduction.experiments import Brains, Sweep, run_experiment

    chosen = Sweep(
        output=output,
        protocol=sweep.chosen_protocol(name),
        seeds=sweep.seeds,
        jobs=sweep.jobs,
        device=sweep.device,
        quick=sweep.quick,
        axis=tuple(sweep.axis or ()),
    )
    brains = Brains(
        healthy=data.healthy or [],
        patients=data.patients or [],
        labels=data.labels or [],
        contrast=data.contrast,
        synthesize_from=data.synthesize_from,
        pictures=data.pictures,
    )
    with talking(quiet) as bars:
        written = run_experiment(name, chosen, brains, data=data.data, bars=bars)
    if not quiet:
        say("\n".join(printable(path) for path in written))


if __name__ == "__main__":
    main(app)
