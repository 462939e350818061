"""The command that adapts a model to a site: calibrate."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from vae_loc.cli.console import say, show, talking
from vae_loc.cli.options import AsJson, BrainMaskOption, Device, HealthyOption, LabelsOption, Quiet, Threads
from vae_loc.errors import printable


def calibrate(
    model: Annotated[str, typer.Argument(help="A model's name or file; it is not changed.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The calibrated model to write, a new file.")],
    scans: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[SCAN]...", help="Annotated scans: NIfTI, folders, .txt lists, or .csv tables."),
    ] = None,
    labels: LabelsOption = None,
    healthy: HealthyOption = None,
    unselected: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="SCAN",
            help="Ordinary scans of your site, healthy or ill, nobody knows which; what --labels annotates in them "
            "is left out. May be repeated.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Random seed of the choice of the fifth.")] = 0,
    brain_mask: BrainMaskOption = None,
    force: Annotated[
        bool, typer.Option("--force", help="Store thresholds from annotations even if their Dice is below 0.1.")
    ] = False,
    device: Device = "cpu",
    threads: Threads = 1,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Set a model's thresholds for your scanner: from annotated, healthy or ordinary scans, or several of these.

    With --labels a fifth of the annotated subjects chooses the threshold of maximal Dice of every map,
    and the Dice on the others is reported; below 0.1 nothing is stored. With --healthy the healthy
    quantiles are taken anew from your own healthy scans; no annotation is needed. With --unselected
    the same is taken from 10 or more ordinary scans, by statistics that the ill among them hardly change.
    Example: vae-loc calibrate flair --unselected last_month/ -o mine.safetensors
    """
    from vae_loc.model.checkpoint import find_model
    from vae_loc.model.network import prepared_device
    from vae_loc.scoring.score_options import brain_mask_of
    from vae_loc.training.calibrate import CalibrationOptions, calibrate_file

    path = find_model(model)
    options = CalibrationOptions(
        labels=labels,
        healthy=healthy or [],
        unselected=unselected or [],
        seed=seed,
        brain_mask=brain_mask_of(brain_mask),
        device=prepared_device(device, threads),
        force=force,
    )
    with talking(quiet) as bars:
        rows = calibrate_file(path, output, scans or [], options, bars=bars)
    if as_json:
        say(json.dumps({"written": str(output), "maps": [asdict(row) for row in rows]}, indent=1))
    elif not quiet:
        if rows:
            from vae_loc.cli.tables.evaluation_tables import calibration_table

            show(calibration_table(rows))
        say(printable(output))
