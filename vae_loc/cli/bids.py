"""The command that is a BIDS App."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from vae_loc.cli.console import tell
from vae_loc.cli.options import (
    AsJson,
    BrainMaskOption,
    ChosenModel,
    Device,
    Jobs,
    LogJson,
    PolarityChoice,
    PolarityOption,
    Quiet,
    Report,
    SchedulerOption,
    Shard,
    SkipExisting,
    Threads,
    parsed_brain_mask,
    parsed_cubic_mm,
    parsed_shard,
)
from vae_loc.errors import UnusableOption
from vae_loc.results.score_cohort import Running, page_beside, readable, scored


class Level(str, Enum):
    """What is analysed."""

    participant = "participant"
    group = "group"


class BidsContrast(str, Enum):
    """Which scans of a dataset."""

    t1 = "t1"
    t2 = "t2"
    flair = "flair"
    all = "all"


def bids(
    context: typer.Context,
    bids_dir: Annotated[Path, typer.Argument(help="The BIDS dataset; it is only read.")],
    output_dir: Annotated[Path, typer.Argument(help="The dataset of derivatives.")],
    analysis_level: Annotated[Level, typer.Argument(help="participant: score scans; group: one table of all.")],
    participant_label: Annotated[
        list[str] | None,
        typer.Option(
            "--participant-label", "--participant_label", help="Only these participants: 01 02 ...", show_default=False
        ),
    ] = None,
    session_label: Annotated[
        list[str] | None,
        typer.Option(
            "--session-label", "--session_label", help="Only this session; may be repeated.", show_default=False
        ),
    ] = None,
    contrast: Annotated[BidsContrast, typer.Option(help="Which scans: T1w, T2w, FLAIR.")] = BidsContrast.t1,
    model: ChosenModel = None,
    polarity: PolarityOption = PolarityChoice.any,
    report: Report = False,
    brain_mask: BrainMaskOption = None,
    threshold: Annotated[float | None, typer.Option(help="Map value above which a voxel is marked.")] = None,
    fpr: Annotated[float | None, typer.Option(min=0.0001, max=0.5, help="As in segment.", show_default=False)] = None,
    min_size: Annotated[str, typer.Option(metavar="MM3", help="Smallest component kept.")] = "100mm3",
    skip_bids_validation: Annotated[
        bool,
        typer.Option(
            "--skip-bids-validation", "--skip_bids_validation", help="Do not ask for dataset_description.json."
        ),
    ] = False,
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
    """Segment the scans of a BIDS dataset, into a dataset of derivatives (BIDS App).

    participant writes maps as percentiles, masks, brain masks, figures and scores; group then writes
    cohort.csv, one row a scan, and cohort.html, the same to look at.
    Example: vae-loc bids dataset dataset/derivatives/vae-loc participant --participant-label 01 02
    """
    running = Running(jobs, scheduler, parsed_shard(shard), skip_existing, quiet, as_json, log_json)
    how, min_size_mm3 = parsed_brain_mask(brain_mask), parsed_cubic_mm(min_size)
    labels = _labels(participant_label, context.args)
    from vae_loc.results.bids_derivatives import Derivatives, write_description
    from vae_loc.scans.bids_dataset import check_dataset, find_scans

    if not skip_bids_validation:
        check_dataset(bids_dir)
    wanted_contrast = None if contrast is BidsContrast.all else contrast.value
    cases = find_scans(bids_dir, contrast=wanted_contrast, participants=labels, sessions=session_label or [])
    where = Derivatives(output_dir, bids_dir)
    write_description(where)
    if analysis_level is Level.group:
        from vae_loc.results.cohort_table import TABLE, read_entries, write_table

        entries = read_entries(cases, where.scores)
        write_table(output_dir / TABLE, entries, ["combi"])
        tell(entries, [output_dir / TABLE, page_beside(output_dir / TABLE)], running)
        return
    part = readable(cases, None, running)
    from vae_loc.results.score_scan import Wanted
    from vae_loc.scoring.segmentation import Segmentation

    wanted = Wanted(
        ["combi"],
        model,
        None,
        how,
        None,
        device,
        threads,
        polarity.value,
        percentile=True,
        report=report,
        segmentation=Segmentation(threshold, fpr, min_size_mm3),
    )
    tell(scored(part, where, None, wanted, running), [], running)


def _labels(given: list[str] | None, more: list[str]) -> list[str]:
    """Return the labels of `--participant-label 01 02`; the second one is an argument of its own to the parser."""
    if more and not given:
        raise UnusableOption(more[0], "expected three arguments: BIDS_DIR OUTPUT_DIR participant|group")
    return [*(given or []), *more]
