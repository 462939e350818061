"""Annotated scans -> `evaluation.json`, `evaluation.csv` and figures in a folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vae_loc.errors import UnusableOption
from vae_loc.evaluation.cohort_metrics import Evaluation, evaluate, records
from vae_loc.evaluation.plots import save_figures
from vae_loc.model.checkpoint import load_checkpoint
from vae_loc.model.shipped import find_model
from vae_loc.scans.annotations import find_labelled
from vae_loc.scans.cases import find_cases
from vae_loc.system.progress import BarMaker
from vae_loc.system.reading import to_csv
from vae_loc.system.versions import versions
from vae_loc.system.writing import check_place, refuse_inputs, together, write_atomically, write_json
from vae_loc.vocabulary import BrainMask


def evaluate_files(
    scans: Sequence[Path],
    labels: str | None,
    model: str,
    output: Path,
    *,
    maps: Path | None,
    healthy: Sequence[Path],
    brain_mask: BrainMask | None,
    device: str,
    seed: int,
    bars: BarMaker,
) -> tuple[Evaluation, list[Path]]:
    """Evaluate a model, or the maps it wrote, and write all that was found; the JSON comes last.

    Raises
    ------
    UnusableOption, UnusableInput, UnusableModel : as `evaluate` and `find_labelled`.
    """
    if maps is not None and not maps.is_dir():
        raise UnusableOption("--maps", f"expected a folder of maps, got {maps}")
    table, summary = output / "evaluation.csv", output / "evaluation.json"
    check_place(table)
    refuse_inputs([table, summary], [*scans, *healthy, *([Path(labels)] if labels else [])])
    checkpoint = load_checkpoint(find_model(model))
    contrast = checkpoint.facts.contrast
    pairs = find_labelled(scans, labels, contrast=contrast)
    controls = find_cases(healthy, contrast=contrast) if healthy else []
    result = evaluate(
        pairs, checkpoint, maps=maps, healthy=controls, brain_mask=brain_mask, device=device, seed=seed, bars=bars
    )
    with together():
        write_atomically(table, to_csv(records(result)))
        figures = save_figures(result, output)
        write_json(summary, result.summary | {"versions": versions(), "use": "research only; not a medical device"})
    return result, [table, *figures, summary]
