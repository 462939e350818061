"""A model and a site's own scans -> a new, calibrated model on disk."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vae_loc.errors import UnusableOption
from vae_loc.model.checkpoint import load_checkpoint, save_checkpoint
from vae_loc.scans.annotations import find_labelled
from vae_loc.scans.cases import find_cases
from vae_loc.system.progress import BarMaker
from vae_loc.system.writing import check_place, refuse_inputs
from vae_loc.training.healthy_reference import calibrate_healthy
from vae_loc.training.labelled_thresholds import FoldDice, calibrate_labelled
from vae_loc.vocabulary import BrainMask


def calibrate_file(
    model: Path,
    output: Path,
    scans: Sequence[Path],
    *,
    labels: str | None,
    healthy: Sequence[Path],
    folds: int,
    seed: int,
    brain_mask: BrainMask | None,
    device: str,
    bars: BarMaker,
) -> list[FoldDice]:
    """Write a copy of `model` with the healthy quantiles of `healthy`, and the thresholds of annotated `scans`.

    Thresholds from annotations are kept when only the healthy quantiles are taken anew.

    Returns
    -------
    What the thresholds achieve, a map and fold; empty without annotated scans.

    Raises
    ------
    UnusableOption : if there is nothing to calibrate on, or `output` is the model itself.
    UnusableInput : if a scan or annotation cannot be used.
    """
    if not scans and not healthy and not labels:
        raise UnusableOption("calibrate", "expected annotated scans with --labels, or --healthy scans; got neither")
    if output.suffix != ".safetensors":
        raise UnusableOption("-o", f"expected a name ending in .safetensors, got {output.name}")
    if output.exists() and output.samefile(model):
        raise UnusableOption("-o", "expected a new file, got the model itself; it is never changed")
    check_place(output)
    refuse_inputs([output], [*scans, *healthy])
    calibrated = load_checkpoint(model)
    contrast = calibrated.facts.contrast
    rows: list[FoldDice] = []
    pairs = find_labelled(scans, labels, contrast=contrast) if scans or labels else []
    if healthy:
        cases = find_cases(healthy, contrast=contrast)
        advance = bars("healthy", len(cases))
        calibrated = calibrate_healthy(
            calibrated, cases, brain_mask=brain_mask, device=device, progress=lambda *_: advance("")
        )
    if pairs:
        calibrated, rows = calibrate_labelled(
            calibrated,
            pairs,
            folds=folds,
            seed=seed,
            brain_mask=brain_mask,
            device=device,
            progress=bars("annotated", len(pairs)),
        )
    save_checkpoint(calibrated, output)
    return rows
