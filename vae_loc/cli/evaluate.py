"""The command evaluate."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vae_loc.cli.console import complain, say, show, talking
from vae_loc.cli.options import (
    AsJson,
    BrainMaskOption,
    ChosenModel,
    Device,
    HealthyOption,
    LabelsOption,
    Quiet,
    Threads,
)
from vae_loc.errors import printable


def evaluate(
    scans: Annotated[
        list[Path], typer.Argument(metavar="SCAN...", help="Annotated scans: NIfTI, folders, .txt lists, .csv tables.")
    ],
    labels: LabelsOption = None,
    model: ChosenModel = None,
    contrast: Annotated[
        str | None, typer.Option(help="Contrast of the scans (t1, t2, flair), which chooses the model.")
    ] = None,
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for tables and figures.")] = Path("evaluation"),
    healthy: HealthyOption = None,
    seed: Annotated[int, typer.Option(min=0, help="Random seed of the bootstrap.")] = 0,
    brain_mask: BrainMaskOption = None,
    device: Device = "cpu",
    threads: Threads = 1,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Compare findings and maps with annotations: tables and figures, with baselines, by subject, with intervals.

    All scans must be of one contrast. Findings come first: patients and lesions found, and false
    findings, at several numbers of false findings expected per healthy scan. With --healthy their
    number in healthy scans is measured.
    Example: vae-loc evaluate patients/ --labels {subject}_seg.nii.gz --contrast t1 -o evaluation --healthy healthy/
    """
    from vae_loc.evaluation.evaluate import EvaluationOptions, evaluate_files
    from vae_loc.model.network import prepared_device
    from vae_loc.results.score_cohort import SOME_FAILED
    from vae_loc.scoring.score_options import brain_mask_of

    options = EvaluationOptions(
        model=model,
        contrast=contrast,
        labels=labels,
        healthy=healthy or [],
        brain_mask=brain_mask_of(brain_mask),
        device=prepared_device(device, threads),
        seed=seed,
    )
    with talking(quiet) as bars:
        result, written = evaluate_files(scans, output, options, bars=bars)
    for warning in (text for measured in result.measured for text in measured.warnings if not quiet):
        complain(f"warning: {printable(warning)}")
    for error in result.failed:
        complain(f"vae-loc: {error}")
    if as_json:
        say(result.record.model_dump_json(indent=1))
    elif not quiet:
        from vae_loc.cli.tables.evaluation_tables import evaluation_tables

        show(*evaluation_tables(result))
        say("\n".join(printable(path) for path in written))
    if result.failed:
        raise typer.Exit(SOME_FAILED)
