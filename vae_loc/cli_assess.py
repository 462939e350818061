"""The commands that need annotations or healthy scans of a site: calibrate and evaluate."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from vae_loc.errors import printable
from vae_loc.options import (
    EXIT_SOME_FAILED,
    AsJson,
    BrainMaskOption,
    Device,
    HealthyOption,
    LabelsOption,
    Model,
    Quiet,
    Threads,
    complain,
    parsed_brain_mask,
    prepared_device,
    say,
    show,
    talking,
)


def calibrate(
    model: Annotated[str, typer.Argument(help="A model's name or file; it is not changed.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The calibrated model to write, a new file.")],
    scans: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[SCAN]...", help="Annotated scans: NIfTI, folders, .txt lists, or .csv tables."),
    ] = None,
    labels: LabelsOption = None,
    healthy: HealthyOption = None,
    folds: Annotated[int, typer.Option(min=1, max=5, help="Fifths over which the calibration is repeated.")] = 1,
    seed: Annotated[int, typer.Option(min=0, help="Of the split into fifths.")] = 0,
    brain_mask: BrainMaskOption = None,
    device: Device = "cpu",
    threads: Threads = 1,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Set a model's thresholds for your scanner: from annotated scans, from healthy ones, or both.

    With --labels a fifth of the annotated subjects chooses the threshold of maximal Dice of every map,
    and the Dice on the others is reported. With --healthy the healthy quantiles are taken anew from
    your own healthy scans; no annotation is needed.
    Example: vae-loc calibrate t1 patients/ --labels {subject}_seg.nii.gz -o mine.safetensors --folds 5
    """
    from vae_loc.catalogue import find_model
    from vae_loc.recalibrate import recalibrate

    path = find_model(model)
    with talking(quiet) as bars:
        rows = recalibrate(
            path,
            output,
            scans or [],
            labels=labels,
            healthy=healthy or [],
            folds=folds,
            seed=seed,
            brain_mask=parsed_brain_mask(brain_mask),
            device=prepared_device(device, threads),
            bars=bars,
        )
    if as_json:
        say(json.dumps({"written": str(output), "folds": [asdict(row) for row in rows]}, indent=1))
        return
    if rows and not quiet:
        from vae_loc.tables import calibration_table

        show(calibration_table(rows))
    if not quiet:
        say(printable(output))


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
    from vae_loc.assess import assess

    with talking(quiet) as bars:
        result, written = assess(
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
        from vae_loc.tables import evaluation_tables

        show(*evaluation_tables(result))
        say("\n".join(printable(path) for path in written))
    if result.failed:
        raise typer.Exit(EXIT_SOME_FAILED)
