"""A model and a site's own scans -> a new, calibrated model on disk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vae_loc.errors import UnusableOption
from vae_loc.model.checkpoint import load_checkpoint, save_checkpoint
from vae_loc.scans.annotations import find_labelled
from vae_loc.scans.cases import find_cases
from vae_loc.system.progress import BarMaker
from vae_loc.system.writing import check_place, refuse_inputs
from vae_loc.training.healthy_reference import calibrate_cases
from vae_loc.training.labelled_thresholds import FoldDice, calibrate_labelled
from vae_loc.vocabulary import BrainMask


@dataclass(frozen=True)
class CalibrationOptions:
    """What a model is calibrated on, and how.

    Attributes
    ----------
    labels : a path with `{subject}`, or a table of scans and labels; None without annotated scans
    healthy : healthy scans of the site
    folds : fifths over which the calibration by annotations is repeated
    """

    labels: str | None = None
    healthy: Sequence[Path] = ()
    folds: int = 1
    seed: int = 0
    brain_mask: BrainMask | None = None
    device: str = "cpu"


def calibrate_file(
    model: Path, output: Path, scans: Sequence[Path], options: CalibrationOptions, *, bars: BarMaker
) -> list[FoldDice]:
    """Write a copy of `model` with the healthy quantiles of a site, and the thresholds of annotated `scans`.

    Thresholds from annotations are kept when only the healthy quantiles are taken anew.

    Returns
    -------
    What the thresholds achieve, for each map and fold; empty without annotated scans.

    Raises
    ------
    UnusableOption : if there is nothing to calibrate on, or `output` is the model itself.
    UnusableInput : if a scan or annotation cannot be used.
    """
    _check(model, output, scans, options)
    calibrated = load_checkpoint(model)
    contrast = calibrated.facts.contrast
    rows: list[FoldDice] = []
    pairs = find_labelled(scans, options.labels, contrast=contrast) if scans or options.labels else []
    if options.healthy:
        cases = find_cases(options.healthy, contrast=contrast)
        calibrated = calibrate_cases(
            calibrated,
            cases,
            brain_mask=options.brain_mask,
            device=options.device,
            progress=bars("healthy", len(cases)),
        )
    if pairs:
        calibrated, rows = calibrate_labelled(
            calibrated,
            pairs,
            folds=options.folds,
            seed=options.seed,
            brain_mask=options.brain_mask,
            device=options.device,
            progress=bars("annotated", len(pairs)),
        )
    save_checkpoint(calibrated, output)
    return rows


def _check(model: Path, output: Path, scans: Sequence[Path], options: CalibrationOptions) -> None:
    if not scans and not options.healthy and not options.labels:
        raise UnusableOption("calibrate", "expected annotated scans with --labels, or --healthy scans; got neither")
    if output.suffix != ".safetensors":
        raise UnusableOption("-o", f"expected a name ending in .safetensors, got {output.name}")
    if output.exists() and output.samefile(model):
        raise UnusableOption("-o", "expected a new file, got the model itself; it is never changed")
    check_place(output)
    refuse_inputs([output], [*scans, *options.healthy])
