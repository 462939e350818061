"""The commands that score scans: score and segment."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vae_loc.cli.console import listening, print_outcome
from vae_loc.cli.option_groups import with_groups
from vae_loc.cli.options import (
    ChosenModel,
    InputOptions,
    MachineOptions,
    MapOptions,
    MaskOptions,
    Output,
    Scans,
    TalkOptions,
    parsed_brain_mask,
)

if TYPE_CHECKING:
    from vae_loc.scoring.score_options import Files, ScoreOptions


@with_groups
def score(
    scans: Scans,
    maps: MapOptions,
    inputs: InputOptions,
    machine: MachineOptions,
    talk: TalkOptions,
    model: ChosenModel = None,
    output: Output = Path("."),
) -> None:
    """Write anomaly maps of scans, on their own grids, with scores and a picture.

    Example: vae-loc score sample_data/crtut_t2.nii.gz -o results --method all
    """
    from vae_loc.results.score_cohort import score_cohort
    from vae_loc.scoring.score_options import Files

    files = Files(percentile=maps.percentile, report=maps.report)
    options, run = _score_options(model, maps, inputs, machine, files), machine.run_options()
    with listening(talk) as listener:
        outcome = score_cohort(scans, output, options, run, series=inputs.series, listener=listener)
    print_outcome(outcome, talk)


@with_groups
def segment(
    scans: Scans,
    maps: MapOptions,
    mask: MaskOptions,
    inputs: InputOptions,
    machine: MachineOptions,
    talk: TalkOptions,
    model: ChosenModel = None,
    output: Output = Path("."),
    dicom_seg: Annotated[
        bool, typer.Option("--dicom-seg", help="Write the mask as a DICOM Segmentation of the series too.")
    ] = False,
) -> None:
    """Score scans and list their findings: masks, and a table with place, size and strength.

    A finding is a place that differs from healthy people so much that a healthy
    scan is expected to have only --false-findings of them. --threshold or --fpr
    mark voxels by a threshold instead. A model that was calibrated on annotated
    scans (vae-loc calibrate) has a threshold of its own.
    Example: vae-loc segment sample_data/crtut_t2.nii.gz -o results
    """
    from vae_loc.results.score_cohort import score_cohort
    from vae_loc.scoring.score_options import Files

    files = Files(segmentation=mask.segmentation(), percentile=maps.percentile, report=maps.report)
    options = _score_options(model, maps, inputs, machine, files, dicom_seg=dicom_seg)
    run = replace(machine.run_options(), persons=mask.persons)
    with listening(talk) as listener:
        outcome = score_cohort(scans, output, options, run, series=inputs.series, listener=listener)
    print_outcome(outcome, talk)


def _score_options(
    model: str | None,
    maps: MapOptions,
    inputs: InputOptions,
    machine: MachineOptions,
    files: Files,
    *,
    dicom_seg: bool = False,
) -> ScoreOptions:
    """Return the options of a command that hold for each scan."""
    from vae_loc.scoring.score_options import ScoreOptions

    return ScoreOptions(
        methods=maps.methods,
        model=model,
        contrast=maps.contrast,
        brain_mask=parsed_brain_mask(inputs.brain_mask),
        volume=inputs.volume,
        device=machine.device,
        threads=machine.threads,
        polarity=maps.polarity,
        raw=maps.raw,
        files=files,
        dicom_seg=dicom_seg,
        force=inputs.force,
    )
