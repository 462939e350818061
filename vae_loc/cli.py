"""The command line: parse, call one library function, say what was written."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vae_loc import __version__, cli_assess
from vae_loc.errors import OutOfMemory, VaeLocError, is_out_of_memory, printable
from vae_loc.options import (
    EXIT_SOME_FAILED,
    AsJson,
    BrainMaskOption,
    ChosenModel,
    CoarseNoise,
    ContrastOption,
    Device,
    MethodChoice,
    MethodOption,
    Output,
    Percentile,
    PolarityChoice,
    PolarityOption,
    Quiet,
    Raw,
    Scans,
    ScheduleChoice,
    ScheduleOption,
    Threads,
    VolumeIndex,
    complain,
    parsed_brain_mask,
    parsed_cubic_mm,
    prepared_device,
    say,
    talking,
)

if TYPE_CHECKING:
    from vae_loc.batch import Wanted
    from vae_loc.checkpoint import Method
    from vae_loc.cohort import Sifted

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


@app.command()
def score(
    scans: Scans,
    model: ChosenModel = None,
    output: Output = Path("."),
    method: MethodOption = MethodChoice.combi,
    contrast: ContrastOption = None,
    polarity: PolarityOption = PolarityChoice.any,
    raw: Raw = False,
    percentile: Percentile = False,
    brain_mask: BrainMaskOption = None,
    volume: VolumeIndex = None,
    device: Device = "cpu",
    threads: Threads = 1,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Write anomaly maps of scans, on their own grids, with scores and a picture.

    Example: vae-loc score sample_data/patient07_t1.nii.gz -o results --method all
    """
    how = parsed_brain_mask(brain_mask)
    found = _sifted(scans, volume, as_json)
    from vae_loc.batch import Wanted

    wanted = Wanted(
        _methods(method), model, contrast, how, volume, device, polarity.value, raw=raw, percentile=percentile
    )
    _locate_all(found, output, wanted, threads, quiet, as_json)


@app.command()
def segment(
    scans: Scans,
    model: ChosenModel = None,
    output: Output = Path("."),
    method: MethodOption = MethodChoice.combi,
    contrast: ContrastOption = None,
    polarity: PolarityOption = PolarityChoice.any,
    raw: Raw = False,
    percentile: Percentile = False,
    brain_mask: BrainMaskOption = None,
    volume: VolumeIndex = None,
    threshold: Annotated[float | None, typer.Option(help="Map value above which a voxel is marked.")] = None,
    fpr: Annotated[
        float | None,
        typer.Option(
            min=0.0001,
            max=0.5,
            help="Share of healthy voxels that the threshold may mark, if the model has no labelled calibration. "
            "[default: 0.05]",
            show_default=False,
        ),
    ] = None,
    min_size: Annotated[str, typer.Option(metavar="MM3", help="Smallest component kept, such as 100mm3.")] = "100mm3",
    device: Device = "cpu",
    threads: Threads = 1,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Score scans and mark what exceeds a threshold: masks and a table of components.

    The threshold is --threshold, else that of the model's labelled calibration (see vae-loc
    calibrate), else the healthy one at --fpr.
    Example: vae-loc segment sample_data/patient07_t1.nii.gz -o results --fpr 0.01
    """
    how, min_size_mm3 = parsed_brain_mask(brain_mask), parsed_cubic_mm(min_size)
    found = _sifted(scans, volume, as_json)
    from vae_loc.batch import Wanted
    from vae_loc.outputs import Segmentation

    marking = Segmentation(threshold, fpr, min_size_mm3)
    wanted = Wanted(
        _methods(method), model, contrast, how, volume, device, polarity.value, raw, percentile, segmentation=marking
    )
    _locate_all(found, output, wanted, threads, quiet, as_json)


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
    file name up to its last underscore. Example: vae-loc train healthy/ -o models/t1.safetensors
    """
    from vae_loc.cohort import find_cases
    from vae_loc.recipe import Recipe, train_cohort

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
    )
    with talking(quiet) as bars:
        cases = find_cases(scans, contrast=synthesize_from or contrast)
        written = train_cohort(
            cases,
            output,
            recipe,
            brain_mask=parsed_brain_mask(brain_mask),
            device=prepared_device(device, threads),
            resume=resume,
            skip_bad=skip_bad,
            bars=bars,
        )
    if not quiet:
        say("\n".join(printable(path) for path in written))


app.command()(cli_assess.calibrate)
app.command()(cli_assess.evaluate)


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


def _methods(method: MethodChoice) -> tuple[Method, ...]:
    from vae_loc.checkpoint import METHODS

    return METHODS if method is MethodChoice.all else (method.value,)


def _sifted(scans: list[Path], volume: int | None, as_json: bool) -> Sifted:
    """Return the scans whose headers can be used; end here, before torch is imported, if there is none."""
    from vae_loc.cohort import find_cases, sift

    found = sift(find_cases(scans), volume=volume)
    if not found.cases:
        for error in found.faults:
            complain(f"vae-loc: {error}")
        if as_json:
            say(json.dumps({"written": {}, "failed": [str(error) for error in found.faults]}, indent=1))
        raise typer.Exit(found.faults[0].exit_code)
    return found


def _locate_all(found: Sifted, output: Path, wanted: Wanted, threads: int, quiet: bool, as_json: bool) -> None:
    from vae_loc.batch import locate_cases
    from vae_loc.outputs import target

    where = target(output, scans=[case.scan for case in found.all_cases], methods=len(wanted.methods))
    ready = replace(wanted, device=prepared_device(wanted.device, threads))
    with talking(quiet) as bars:
        done = locate_cases(found.cases, where, ready, bars=bars, warn=(lambda _: None) if quiet else complain)
    done.failed[:0] = found.faults
    for error in done.failed:
        complain(f"vae-loc: {error}")
    if as_json:
        say(json.dumps(done.as_json(), indent=1))
    elif not quiet and done.written:
        say("\n".join(printable(path) for paths in done.written.values() for path in paths))
    if done.failed:
        raise typer.Exit(EXIT_SOME_FAILED if done.written else done.failed[0].exit_code)


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
