"""The command line: parse, call one library function, say what was written."""

from __future__ import annotations

import json
import re
import sys
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from vae_loc import __version__
from vae_loc.errors import UnusableOption, VaeLocError, printable

if TYPE_CHECKING:
    from vae_loc.outputs import Segmentation
    from vae_loc.progress import Bars

app = typer.Typer(
    name="vae-loc",
    help="Show which voxels of a brain MRI a model of healthy brains finds improbable. Research use only.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
)

EXIT_SOME_FAILED = 3
EXIT_INTERRUPTED = 130


class MethodChoice(str, Enum):
    """The five maps of the paper, or all of them."""

    combi = "combi"
    rec_error = "rec-error"
    kl_grad = "kl-grad"
    rec_grad = "rec-grad"
    elbo_grad = "elbo-grad"
    all = "all"


Scans = Annotated[
    list[Path],
    typer.Argument(metavar="SCAN...", help="NIfTI scans, folders of them, or .txt lists with one path a line."),
]
Model = Annotated[
    str,
    typer.Option("-m", "--model", envvar="VAE_LOC_MODEL", help="A shipped model's name (t1) or a .safetensors file."),
]
Output = Annotated[
    Path, typer.Option("-o", "--output", help="Folder, or a .nii[.gz] file name for one scan and one method.")
]
MethodOption = Annotated[MethodChoice, typer.Option("--method", help="Which map; combi = KL-Grad x Rec-Error.")]
BrainMask = Annotated[
    str | None,
    typer.Option(
        metavar="FILE|auto|none",
        help="Default: the sibling <subject>_brainmask.nii.gz where it exists, else auto. "
        "auto: a skull-stripped scan is recognised, a whole head is extracted. none: the whole volume is brain.",
        show_default=False,
    ),
]
VolumeIndex = Annotated[int | None, typer.Option("--volume", min=0, help="Which volume of a 4D file, from 0.")]
Device = Annotated[str, typer.Option(metavar="auto|cpu|cuda[:N]|mps", help="Where the network runs.")]
Threads = Annotated[int, typer.Option(min=1, help="CPU threads of the network.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Only errors on stderr, no paths on stdout.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object on stdout instead of paths.")]


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"vae-loc {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    _: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")] = False,
) -> None:
    """Show which voxels of a brain MRI a model of healthy brains finds improbable. Research use only."""


@app.command()
def score(
    scans: Scans,
    model: Model = "t1",
    output: Output = Path("."),
    method: MethodOption = MethodChoice.combi,
    brain_mask: BrainMask = None,
    volume: VolumeIndex = None,
    device: Device = "cpu",
    threads: Threads = 1,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Write anomaly maps of scans, on their own grids, with scores and a picture.

    Example: vae-loc score sample_data/patient07_t1.nii.gz -o results --method all
    """
    _locate_all(scans, model, output, method, brain_mask, volume, device, threads, quiet, as_json, None)


@app.command()
def segment(
    scans: Scans,
    model: Model = "t1",
    output: Output = Path("."),
    method: MethodOption = MethodChoice.combi,
    brain_mask: BrainMask = None,
    volume: VolumeIndex = None,
    threshold: Annotated[float | None, typer.Option(help="Map value above which a voxel is marked.")] = None,
    fpr: Annotated[
        float, typer.Option(min=0.0001, max=0.5, help="Share of healthy voxels that the threshold may mark.")
    ] = 0.05,
    min_size: Annotated[str, typer.Option(metavar="MM3", help="Smallest component kept, such as 100mm3.")] = "100mm3",
    device: Device = "cpu",
    threads: Threads = 1,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Score scans and mark what exceeds the healthy threshold: masks and a table of components.

    Example: vae-loc segment sample_data/patient07_t1.nii.gz -o results --fpr 0.01
    """
    from vae_loc.outputs import Segmentation

    how = Segmentation(threshold, fpr, _cubic_mm(min_size))
    _locate_all(scans, model, output, method, brain_mask, volume, device, threads, quiet, as_json, how)


@app.command()
def train(
    scans: Scans,
    output: Annotated[Path, typer.Option("-o", "--output", help="The model to write, MODEL.safetensors.")],
    contrast: Annotated[str, typer.Option(help="What the scans are: t1, t2, flair, ...")] = "t1",
    brain_mask: BrainMask = None,
    latents: Annotated[int, typer.Option(min=1, max=4096, help="Size of z.")] = 256,
    c: Annotated[float, typer.Option("--c", min=0.001, help="Standard deviation of p(x|z).")] = 1.0,
    image_size: Annotated[int, typer.Option(help="Pixels of a slice's side: 32, 64 or 128.")] = 64,
    epochs: Annotated[int, typer.Option(min=1, help="At most; training stops earlier on a plateau.")] = 300,
    batch_size: Annotated[int, typer.Option(min=1, help="Slices a step; lower it if memory runs out.")] = 64,
    seed: Annotated[int, typer.Option(min=0, help="Of the split, the weights and the augmentation.")] = 0,
    holdout: Annotated[float, typer.Option(min=0.01, max=0.9, help="Share of the SUBJECTS held out.")] = 0.2,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from MODEL's .state file if there is one.")] = False,
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

    recipe = Recipe(contrast, latents, c, image_size, epochs, batch_size, seed, holdout)
    with _talking(quiet) as bars:
        cases = find_cases(scans, contrast=contrast)
        written = train_cohort(
            cases,
            output,
            recipe,
            brain_mask=_brain_mask(brain_mask),
            device=_prepared_device(device, threads),
            resume=resume,
            bars=bars,
        )
    if not quiet:
        typer.echo("\n".join(printable(path) for path in written))


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
        typer.echo(json.dumps(facts, indent=1))
    else:
        typer.echo("\n".join(f"{name:<28} {value}" for name, value in facts.items()))


def _locate_all(
    scans: list[Path],
    model: str,
    output: Path,
    method: MethodChoice,
    brain_mask: str | None,
    volume: int | None,
    device: str,
    threads: int,
    quiet: bool,
    as_json: bool,
    segmentation: Segmentation | None,
) -> None:
    from vae_loc.catalogue import find_model
    from vae_loc.checkpoint import METHODS, load_checkpoint
    from vae_loc.cohort import find_cases
    from vae_loc.outputs import target

    methods = METHODS if method is MethodChoice.all else (method.value,)
    cases = find_cases(scans)
    where = target(output, scans=len(cases), methods=len(methods))
    checkpoint = load_checkpoint(find_model(model))

    from vae_loc.batch import locate_cases

    with _talking(quiet) as bars:
        done = locate_cases(
            cases,
            checkpoint,
            where,
            methods=methods,  # type: ignore[arg-type]
            brain_mask=_brain_mask(brain_mask),
            volume=volume,
            device=_prepared_device(device, threads),
            segmentation=segmentation,
            bars=bars,
            warn=(lambda _: None) if quiet else _complain,
        )
    for error in done.failed:
        _complain(f"vae-loc: {error}")
    if as_json:
        typer.echo(json.dumps(done.as_json(), indent=1))
    elif not quiet and done.written:
        typer.echo("\n".join(printable(path) for paths in done.written.values() for path in paths))
    if done.failed:
        raise typer.Exit(EXIT_SOME_FAILED if done.written else done.failed[0].exit_code)


def _prepared_device(device: str, threads: int) -> str:
    import torch

    from vae_loc.scoring import resolve_device

    torch.set_num_threads(threads)
    return resolve_device(device)


def _brain_mask(option: str | None) -> Path | Literal["auto", "none"] | None:
    if option is None or option in ("auto", "none"):
        return option  # type: ignore[return-value]
    return Path(option)


def _cubic_mm(text: str) -> float:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(mm3)?", text)
    if match is None:
        raise UnusableOption("--min-size", f"expected cubic millimetres such as 100mm3, got {text}")
    return float(match[1])


def _talking(quiet: bool) -> Bars:
    from vae_loc.progress import Bars

    return Bars(quiet)


def _complain(text: str) -> None:
    sys.stderr.write(text + "\n")


def main() -> None:
    """Run the command line; a fault of the user's is one line on stderr and an exit code."""
    try:
        app()
    except VaeLocError as error:
        _complain(f"vae-loc: {error}")
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)
