"""The commands that score scans: score and segment."""

from __future__ import annotations

from typing import Annotated

import typer

from vae_loc.cli.console import listening, print_outcome
from vae_loc.cli.option_groups import with_groups
from vae_loc.cli.options import MachineOptions, MaskOptions, ScanOptions, Scans, TalkOptions


@with_groups
def score(scans: Scans, of: ScanOptions, machine: MachineOptions, talk: TalkOptions) -> None:
    """Write anomaly maps of scans, on their own grids, with scores and a picture.

    Example: vae-loc score sample_data/crtut_t2.nii.gz -o results --method all
    """
    _score(scans, of, machine, talk)


@with_groups
def segment(
    scans: Scans,
    of: ScanOptions,
    mask: MaskOptions,
    machine: MachineOptions,
    talk: TalkOptions,
    dicom_seg: Annotated[bool, typer.Option("--dicom-seg", help="Write a DICOM Segmentation too.")] = False,
) -> None:
    """Score scans and list their findings: masks, and tables with place, size and strength.

    A finding is a place so different from healthy people that a healthy scan has
    at most --false-findings of them.
    Example: vae-loc segment sample_data/crtut_t2.nii.gz -o results
    """
    _score(scans, of, machine, talk, mask, dicom_seg=dicom_seg)


def _score(
    scans: Scans,
    of: ScanOptions,
    machine: MachineOptions,
    talk: TalkOptions,
    mask: MaskOptions | None = None,
    *,
    dicom_seg: bool = False,
) -> None:
    """Score scans, with masks where options of a mask are given, and print the outcome."""
    from vae_loc.results.score_cohort import score_cohort
    from vae_loc.scoring.score_options import Files, ScoreOptions, brain_mask_of

    segmentation = None if mask is None else mask.segmentation()
    options = ScoreOptions(
        methods=of.methods,
        model=of.model,
        contrast=of.contrast,
        brain_mask=brain_mask_of(of.brain_mask),
        volume=of.volume,
        device=machine.device,
        threads=machine.threads,
        polarity=of.polarity,
        raw=of.raw,
        files=Files(segmentation, percentile=of.percentile, report=of.report, template_space=of.template_space),
        dicom_seg=dicom_seg,
        force=of.force,
    )
    run = machine.run_options(persons=mask is None or not mask.no_persons)
    with listening(talk) as listener:
        outcome = score_cohort(scans, of.output, options, run, series=of.series, listener=listener)
    print_outcome(outcome, talk)
