"""A model and a site's own scans -> a new, calibrated model on disk."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vae_loc.errors import UnusableOption
from vae_loc.model.checkpoint import Checkpoint, healthy_threshold, load_checkpoint, save_checkpoint
from vae_loc.scans.annotations import find_labelled
from vae_loc.scans.cases import find_cases
from vae_loc.scoring.findings import known_findings, strength_for
from vae_loc.scoring.score_options import DEFAULT_FALSE_FINDINGS, DEFAULT_FPR
from vae_loc.system.progress import BarMaker
from vae_loc.system.writing import check_place, refuse_inputs
from vae_loc.training.healthy_reference import calibrate_cases
from vae_loc.training.labelled_thresholds import FoldDice, calibrate_labelled, doubts, refuse_poor
from vae_loc.training.training_record import FEW_SUBJECTS
from vae_loc.vocabulary import BrainMask

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CalibrationOptions:
    """The scans of a calibration, and how it is done.

    Attributes
    ----------
    labels : a path with `{subject}`, or a table of scans and labels; None without annotated scans
    healthy : healthy scans of the site
    folds : fifths over which the calibration by annotations is repeated
    force : whether thresholds are stored by which the masks hardly meet the annotations
    """

    labels: str | None = None
    healthy: Sequence[Path] = ()
    folds: int = 1
    seed: int = 0
    brain_mask: BrainMask | None = None
    device: str = "cpu"
    force: bool = False


def calibrate_file(
    model: Path, output: Path, scans: Sequence[Path], options: CalibrationOptions, *, bars: BarMaker
) -> list[FoldDice]:
    """Write a copy of `model` with the healthy quantiles of a site, and the thresholds of annotated `scans`.

    Thresholds from annotations are kept when only the healthy quantiles are taken anew.

    Returns
    -------
    The Dice of the thresholds, for each map and fold; empty without annotated scans.

    Raises
    ------
    UnusableOption : if there is nothing to calibrate on, or `output` is the model itself.
    UnusableInput : if a scan or annotation cannot be used, or the masks hardly meet the annotations.
    """
    _check(model, output, scans, options)
    calibrated = load_checkpoint(model)
    contrast = calibrated.facts.contrast
    pairs = find_labelled(scans, options.labels, contrast=contrast) if scans or options.labels else []
    rows: list[FoldDice] = []
    if options.healthy:
        # take the healthy statistics anew, blended with the model's own
        before, cases = calibrated, find_cases(options.healthy, contrast=contrast)
        progress = bars("healthy", len(cases))
        calibrated = calibrate_cases(
            before, cases, brain_mask=options.brain_mask, device=options.device, progress=progress
        )
        _log_change(before, calibrated)
    if pairs:
        # choose thresholds on annotated subjects; poor ones are not stored
        calibrated, rows = calibrate_labelled(
            calibrated,
            pairs,
            folds=options.folds,
            seed=options.seed,
            brain_mask=options.brain_mask,
            device=options.device,
            progress=bars("annotated", len(pairs)),
        )
        if labelled := calibrated.facts.labelled:
            for line in doubts(labelled, folds=options.folds):
                _log.warning(line)
            if not options.force:
                refuse_poor(labelled)
    save_checkpoint(calibrated, output)
    return rows


def _log_change(before: Checkpoint, after: Checkpoint) -> None:
    """Log the thresholds of Combi before and after the healthy scans of a site, and a warning if these are few."""
    subjects = after.facts.healthy.subjects if after.facts.healthy else 0
    if subjects < FEW_SUBJECTS:
        few = (
            f"{subjects} healthy subject{'s are' if subjects > 1 else ' is'} too few to tell what is usual at your site"
        )
        _log.warning(f"warning: {few}; {FEW_SUBJECTS} to 20 are needed")
    _log.warning(f"before: {_thresholds(before)}")
    _log.warning(f"after: {_thresholds(after)}")


def _thresholds(model: Checkpoint) -> str:
    """Return the strength of Combi's findings by default, and the value that 5 % of healthy voxels exceed."""
    if model.facts.healthy is None:
        return "no healthy statistics"
    share = f"5 % of healthy voxels above {healthy_threshold(model, 'combi', DEFAULT_FPR):.3g}"
    known = known_findings(model.facts, "combi")
    if known is None:
        return share
    return f"findings from strength {strength_for(known, DEFAULT_FALSE_FINDINGS):.3g}, {share}"


def _check(model: Path, output: Path, scans: Sequence[Path], options: CalibrationOptions) -> None:
    if not scans and not options.healthy and not options.labels:
        raise UnusableOption("calibrate", "expected annotated scans with --labels, or --healthy scans; got neither")
    if output.suffix != ".safetensors":
        raise UnusableOption("-o", f"expected a name ending in .safetensors, got {output.name}")
    if output.exists() and output.samefile(model):
        raise UnusableOption("-o", "expected a new file, got the model itself; it is never changed")
    check_place(output)
    refuse_inputs([output], [*scans, *options.healthy])
