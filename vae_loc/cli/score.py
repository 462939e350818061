"""The commands that score scans: score and segment."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vae_loc.cli.options import (
    AsJson,
    BrainMaskOption,
    ChosenModel,
    ContrastOption,
    Device,
    DicomSeg,
    Jobs,
    LogJson,
    MethodChoice,
    MethodOption,
    Output,
    Percentile,
    PolarityChoice,
    PolarityOption,
    Quiet,
    Raw,
    Report,
    Scans,
    SchedulerOption,
    Series,
    Shard,
    SkipExisting,
    Threads,
    VolumeIndex,
    parsed_brain_mask,
    parsed_cubic_mm,
    parsed_shard,
)
from vae_loc.results.score_cohort import Running, converted, locate_and_tell, readable

if TYPE_CHECKING:
    from vae_loc.vocabulary import Method


def score(
    scans: Scans,
    model: ChosenModel = None,
    output: Output = Path("."),
    method: MethodOption = MethodChoice.combi,
    contrast: ContrastOption = None,
    polarity: PolarityOption = PolarityChoice.any,
    raw: Raw = False,
    percentile: Percentile = False,
    report: Report = False,
    brain_mask: BrainMaskOption = None,
    volume: VolumeIndex = None,
    series: Series = None,
    device: Device = "cpu",
    threads: Threads = 1,
    jobs: Jobs = None,
    scheduler: SchedulerOption = None,
    shard: Shard = None,
    skip_existing: SkipExisting = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
    log_json: LogJson = None,
) -> None:
    """Write anomaly maps of scans, on their own grids, with scores and a picture.

    Example: vae-loc score sample_data/patient07_t1.nii.gz -o results --method all
    """
    how = parsed_brain_mask(brain_mask)
    running = Running(jobs, scheduler, parsed_shard(shard), skip_existing, quiet, as_json, log_json)
    from vae_loc.scans.cases import find_cases

    dicom = converted(scans, output, series=series, needed=False, quiet=quiet)
    cases = find_cases(dicom.places)
    part = readable(cases, volume, running, known=dicom.faults)
    from vae_loc.results.score_scan import Wanted

    wanted = Wanted(
        _methods(method),
        model,
        contrast,
        how,
        volume,
        device,
        threads,
        polarity.value,
        raw=raw,
        percentile=percentile,
        report=report,
    )
    locate_and_tell(cases, part, output, wanted, running)


def segment(
    scans: Scans,
    model: ChosenModel = None,
    output: Output = Path("."),
    method: MethodOption = MethodChoice.combi,
    contrast: ContrastOption = None,
    polarity: PolarityOption = PolarityChoice.any,
    raw: Raw = False,
    percentile: Percentile = False,
    report: Report = False,
    brain_mask: BrainMaskOption = None,
    volume: VolumeIndex = None,
    series: Series = None,
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
    dicom_seg: DicomSeg = False,
    device: Device = "cpu",
    threads: Threads = 1,
    jobs: Jobs = None,
    scheduler: SchedulerOption = None,
    shard: Shard = None,
    skip_existing: SkipExisting = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
    log_json: LogJson = None,
) -> None:
    """Score scans and mark what exceeds a threshold: masks and a table of components.

    The threshold is --threshold, else that of the model's labelled calibration (see vae-loc
    calibrate), else the healthy one at --fpr.
    Example: vae-loc segment sample_data/patient07_t1.nii.gz -o results --fpr 0.01
    """
    how, min_size_mm3 = parsed_brain_mask(brain_mask), parsed_cubic_mm(min_size)
    running = Running(jobs, scheduler, parsed_shard(shard), skip_existing, quiet, as_json, log_json)
    from vae_loc.scans.cases import find_cases

    dicom = converted(scans, output, series=series, needed=dicom_seg, quiet=quiet)
    cases = find_cases(dicom.places)
    part = readable(cases, volume, running, known=dicom.faults)
    from vae_loc.results.score_scan import Wanted
    from vae_loc.scoring.segmentation import Segmentation

    wanted = Wanted(
        _methods(method),
        model,
        contrast,
        how,
        volume,
        device,
        threads,
        polarity.value,
        raw=raw,
        percentile=percentile,
        report=report,
        segmentation=Segmentation(threshold, fpr, min_size_mm3),
    )
    locate_and_tell(cases, part, output, wanted, running, dicom=dicom if dicom_seg else None)


def _methods(method: MethodChoice) -> tuple[Method, ...]:
    from vae_loc.vocabulary import METHODS

    return METHODS if method is MethodChoice.all else (method.value,)
