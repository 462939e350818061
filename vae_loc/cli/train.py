"""The command that learns a model: train."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vae_loc.cli.app import app
from vae_loc.cli.console import say, talking
from vae_loc.cli.options import (
    BrainMaskOption,
    CoarseNoise,
    Device,
    PrecisionChoice,
    PrecisionOption,
    Quiet,
    Scans,
    ScheduleChoice,
    ScheduleOption,
    Threads,
    parsed_brain_mask,
)
from vae_loc.errors import printable
from vae_loc.model.network import prepared_device


@app.command()
def train(
    scans: Scans,
    output: Annotated[Path, typer.Option("-o", "--output", help="The model to write, MODEL.safetensors.")],
    contrast: Annotated[str, typer.Option(help="What the scans are: t1, t2, flair, ...")] = "t1",
    brain_mask: BrainMaskOption = None,
    synthesize_from: Annotated[
        str | None,
        typer.Option(
            metavar="t1", help="The scans are T1; make them look like --contrast t2 or flair.", show_default=False
        ),
    ] = None,
    latents: Annotated[int, typer.Option(min=1, max=4096, help="Size of z.")] = 256,
    c: Annotated[float, typer.Option("--c", min=0.001, help="Standard deviation of p(x|z).")] = 1.0,
    image_size: Annotated[int, typer.Option(help="Pixels of a slice's side: 32, 64 or 128.")] = 64,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Default: 1700 steps; under plateau at most 300.", show_default=False)
    ] = None,
    schedule: ScheduleOption = ScheduleChoice.short,
    coarse_noise: CoarseNoise = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Slices a step; lower it if memory runs out.")] = 64,
    seed: Annotated[int, typer.Option(min=0, help="Of the split, the weights and the augmentation.")] = 0,
    precision: PrecisionOption = PrecisionChoice.fp32,
    holdout: Annotated[float, typer.Option(min=0.01, max=0.9, help="Share of the SUBJECTS held out.")] = 0.2,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from MODEL's .state file if there is one.")] = False,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Go on without the scans that cannot be used, and list them.")
    ] = False,
    device: Device = "auto",
    threads: Threads = 2,
    quiet: Quiet = False,
) -> None:
    """Train a model on healthy scans, and store the healthy distribution of its scores.

    A sibling <subject>_brainmask.nii.gz is used as brain mask where it exists; the subject is the
    file name up to its last underscore. torchrun trains in several processes (docs/cluster.md).
    Example: vae-loc train healthy/ -o models/t1.safetensors
    """
    from vae_loc.scans.cases import find_cases
    from vae_loc.system.worker_processes import fair_threads
    from vae_loc.training.train import Recipe, train_cohort

    recipe = Recipe(
        contrast,
        synthesize_from,
        latents,
        c,
        image_size,
        epochs,
        batch_size,
        seed,
        holdout,
        schedule.value,
        coarse_noise,
        precision.value,
    )
    ready = prepared_device(device, fair_threads(threads))

    with joined_processes(ready) as ranks, talking(quiet or ranks.rank > 0) as bars:
        cases = find_cases(scans, contrast=synthesize_from or contrast)
        written = train_cohort(
            cases,
            output,
            recipe,
            brain_mask=parsed_brain_mask(brain_mask),
            ranks=ranks,
            resume=resume,
            skip_bad=skip_bad,
            bars=bars,
        )
    if written and not quiet:
        say("\n".join(printable(path) for path in written))
