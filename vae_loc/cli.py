"""The command line: parse, call one library function, say what was written."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from vae_loc import __version__, cli_assess, cli_bids, cli_doctor, cli_reproduce, cli_score
from vae_loc.errors import OutOfMemory, VaeLocError, is_out_of_memory, printable
from vae_loc.options import (
    AsJson,
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
    complain,
    parsed_brain_mask,
    prepared_device,
    say,
    talking,
)

app = typer.Typer(
    name="vae-loc",
    help="Show which voxels of a brain MRI a model of healthy brains finds improbable. Research use only.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
)

EXIT_INTERRUPTED = 130


def _version(wanted: bool) -> None:
    if wanted:
        say(f"vae-loc {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    _: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")] = False,
) -> None:
    """Show which voxels of a brain MRI a model of healthy brains finds improbable. Research use only."""


app.command()(cli_score.score)
app.command()(cli_score.segment)
app.command(context_settings={"allow_extra_args": True})(cli_bids.bids)


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
    from vae_loc.cohort import find_cases
    from vae_loc.recipe import Recipe, train_cohort
    from vae_loc.workers import fair_threads

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
    from vae_loc.ranks import joined_ranks

    with joined_ranks(ready) as ranks, talking(quiet or ranks.rank > 0) as bars:
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


@app.command()
def export(
    model: Annotated[str, typer.Argument(envvar="VAE_LOC_MODEL", help="A model's name or file.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="What to write, .onnx.")],
) -> None:
    """Write a model as ONNX for other programs.

    The ONNX file takes slices x (B, 1, H, W) and c, and gives residual, KL, Rec, and the gradients of both.
    Example: vae-loc export t1 -o t1.onnx
    """
    from vae_loc.catalogue import find_model
    from vae_loc.export import export as written

    written(find_model(model), output)
    say(printable(output))


app.command()(cli_assess.calibrate)
app.command()(cli_assess.evaluate)
app.command()(cli_reproduce.reproduce)
app.command()(cli_doctor.doctor)


@app.command()
def info(
    model: Annotated[str, typer.Argument(envvar="VAE_LOC_MODEL", help="A model's name or file.")] = "t1",
    as_json: AsJson = False,
) -> None:
    """Show what a model is, and its healthy thresholds.

    Example: vae-loc info t1
    """
    from vae_loc.catalogue import describe, find_model
    from vae_loc.checkpoint import load_checkpoint

    path = find_model(model)
    facts = describe(path, load_checkpoint(path))
    if as_json:
        say(json.dumps(facts, indent=1))
    else:
        say("\n".join(f"{name:<28} {printable(str(value))}" for name, value in facts.items()))


def main() -> None:
    """Run the command line; a fault of the user's is one line on stderr and an exit code."""
    try:
        app()
    except VaeLocError as error:
        complain(f"vae-loc: {error}")
        sys.exit(error.exit_code)
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        complain(f"vae-loc: {OutOfMemory()}")
        sys.exit(OutOfMemory.exit_code)
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)
