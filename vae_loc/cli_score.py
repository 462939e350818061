"""The commands that score scans: score and segment."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vae_loc.errors import printable
from vae_loc.options import (
    EXIT_SOME_FAILED,
    AsJson,
    BrainMaskOption,
    ChosenModel,
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
