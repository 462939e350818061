"""The command that is a BIDS App."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from vae_loc.cli.console import listening, print_outcome
from vae_loc.cli.option_groups import with_groups
from vae_loc.cli.options import (
    BrainMaskOption,
    ChosenModel,
    Force,
    MachineOptions,
    MaskOptions,
    PolarityOption,
    Report,
    TalkOptions,
    TemplateSpace,
)
from vae_loc.errors import UnusableOption


@with_groups
def bids(
    context: typer.Context,
    bids_dir: Annotated[Path, typer.Argument(help="The BIDS dataset; it is only read.")],
    output_dir: Annotated[Path, typer.Argument(help="The dataset of derivatives.")],
    analysis_level: Annotated[
        Literal["participant", "group"],
        typer.Argument(help="Level: participant scores scans; group makes one table of all."),
    ],
    mask: MaskOptions,
    machine: MachineOptions,
    talk: TalkOptions,
    participant_label: Annotated[
        list[str] | None,
        typer.Option("--participant-label", "--participant_label", help="Participants to score: 01 02 ..."),
    ] = None,
    session_label: Annotated[
        list[str] | None, typer.Option("--session-label", "--session_label", help="Session to score; may be repeated.")
    ] = None,
    contrast: Annotated[
        Literal["t1", "t2", "flair", "all"] | None,
        typer.Option(
            help="Contrast of the scans: T1w, T2w, FLAIR. Default: all in the dataset; with --model, its contrast."
        ),
    ] = None,
    model: ChosenModel = None,
    polarity: PolarityOption = "any",
    report: Report = False,
    template_space: TemplateSpace = False,
    force: Force = False,
    brain_mask: BrainMaskOption = None,
    skip_bids_validation: Annotated[
        bool,
        typer.Option(
            "--skip-bids-validation",
            "--skip_bids_validation",
            help="Accept a dataset without dataset_description.json.",
        ),
    ] = False,
) -> None:
    """Segment the scans of a BIDS dataset, into a dataset of derivatives (BIDS App).

    participant writes maps as percentiles, masks, brain masks, figures and scores; group then writes
    cohort.csv, one row per scan, and cohort.html, the same to look at.
    Example: vae-loc bids dataset dataset/derivatives/vae-loc participant --participant-label 01 02
    """
    from vae_loc.model.checkpoint import find_model, load_checkpoint
    from vae_loc.results import score_bids
    from vae_loc.scoring.score_options import Files, ScoreOptions, brain_mask_of

    # of `--participant-label 01 02` the second label is an argument of its own to the parser
    if context.args and not participant_label:
        raise UnusableOption(context.args[0], "expected three arguments: BIDS_DIR OUTPUT_DIR participant|group")
    options = ScoreOptions(
        model=model,
        brain_mask=brain_mask_of(brain_mask),
        device=machine.device,
        threads=machine.threads,
        polarity=polarity,
        files=Files(mask.segmentation(), percentile=True, report=report, template_space=template_space),
        force=force,
    )
    run = machine.run_options(persons=not mask.no_persons)
    # the contrast of the scans, None for all; a model that is named is of one
    wanted: str | None = None if contrast == "all" else contrast
    if contrast is None and model is not None:
        own = load_checkpoint(find_model(model)).facts.contrast
        wanted = own if own in score_bids.BIDS_SUFFIXES else None
    names = score_bids.derivatives_of(bids_dir, output_dir, validated=not skip_bids_validation, polarity=polarity)
    people = (*(participant_label or ()), *context.args)
    cases = score_bids.bids_cases(bids_dir, contrast=wanted, participants=people, sessions=session_label or ())
    if analysis_level == "group":
        outcome = score_bids.collect_dataset(cases, names, contrast=wanted)
    else:
        with listening(talk) as listener:
            outcome = score_bids.score_dataset(cases, names, options, run, listener=listener)
    print_outcome(outcome, talk)
