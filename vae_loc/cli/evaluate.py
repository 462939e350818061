"""The command that compares maps with annotations: evaluate."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from vae_loc.cli.console import EXIT_SOME_FAILED, complain, say, show, talking
from vae_loc.cli.options import (
    AsJson,
    BrainMaskOption,
    Device,
    HealthyOption,
    LabelsOption,
    Model,
    Quiet,
    Threads,
    parsed_brain_mask,
)
from vae_loc.errors import printable
from vae_loc.model.network import prepared_device


def evaluate(
    scans: Annotated[
        list[Path], typer.Argument(metavar="SCAN...", help="Annotated scans: NIfTI, folders, .txt lists, .csv tables.")
    ],
    labels: LabelsOption = None,
    model: Model = "t1",
    maps: Annotated[
        Path | None, typer.Option(help="Folder of maps that `score` wrote with this model; default: score the scans.")
    ] = None,
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for tables and figures.")] = Path("evaluation"),
    healthy: HealthyOption = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the bootstrap.")] = 0,
    brain_mask: BrainMaskOption = None,
    device: Device = "cpu",
    threads: Threads = 1,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Compare maps with annotations: tables and figures, with baselines, by subject, with intervals.

    Example: vae-loc evaluate patients/ --labels {subject}_seg.nii.gz -m t1 -o evaluation --healthy healthy/
    """

    with talking(quiet) as bars:
        result, written = evaluate_files(
            scans,
            labels,
            model,
            output,
            maps=maps,
            healthy=healthy or [],
            brain_mask=parsed_brain_mask(brain_mask),
            device=prepared_device(device, threads),
            seed=seed,
            bars=bars,
        )
    for warning in (text for measured in result.measured for text in measured.warnings if not quiet):
        complain(f"warning: {printable(warning)}")
    for error in result.failed:
        complain(f"vae-loc: {error}")
    if as_json:
        say(json.dumps(result.summary, indent=1))
    elif not quiet:
        from vae_loc.cli.tables import evaluation_tables

        show(*evaluation_tables(result))
        say("\n".join(printable(path) for path in written))
    if result.failed:
        raise typer.Exit(EXIT_SOME_FAILED)
