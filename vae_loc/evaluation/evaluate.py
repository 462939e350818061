"""Annotated scans -> `evaluation.json`, `evaluation.csv` and figures in a folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vae_loc.errors import UnusableOption
from vae_loc.evaluation.cohort_metrics import Evaluation, evaluate, records
from vae_loc.evaluation.plots import save_figures
from vae_loc.model.network import load_model
from vae_loc.scans.annotations import find_labelled
from vae_loc.scans.cases import find_cases
from vae_loc.system.progress import BarMaker
from vae_loc.system.reading import to_csv
from vae_loc.system.writing import check_place, refuse_inputs, together, write_atomically, write_json
from vae_loc.vocabulary import BrainMask


@dataclass(frozen=True)
class EvaluationOptions:
    """What is evaluated, and how.

    Attributes
    ----------
    model : a model's name or file
    labels : a path with `{subject}`, or a table of scans and labels
    maps : a folder of maps that were written before; None scores the scans
    healthy : healthy scans that the model never saw
    """

    model: str = "t1"
    labels: str | None = None
    maps: Path | None = None
    healthy: Sequence[Path] = ()
    brain_mask: BrainMask | None = None
    device: str = "cpu"
    seed: int = 0


def evaluate_files(
    scans: Sequence[Path], output: Path, options: EvaluationOptions, *, bars: BarMaker
) -> tuple[Evaluation, list[Path]]:
    """Evaluate a model, or the maps it wrote, and write all figures; the JSON comes last.

    Raises
    ------
    UnusableOption, UnusableInput, UnusableModel : as `evaluate` and `find_labelled`.
    """
    if options.maps is not None and not options.maps.is_dir():
        raise UnusableOption("--maps", f"expected a folder of maps, got {options.maps}")
    table, record = output / "evaluation.csv", output / "evaluation.json"
    check_place(table)
    refuse_inputs([table, record], [*scans, *options.healthy, *([Path(options.labels)] if options.labels else [])])
    model = load_model(options.model, options.device)
    contrast = model.facts.contrast
    result = evaluate(
        find_labelled(scans, options.labels, contrast=contrast),
        model,
        maps=options.maps,
        healthy=find_cases(options.healthy, contrast=contrast) if options.healthy else [],
        brain_mask=options.brain_mask,
        seed=options.seed,
        bars=bars,
    )
    with together():
        write_atomically(table, to_csv(records(result)))
        figures = save_figures(result, output)
        write_json(record, result.record.model_dump(mode="json"))
    return result, [table, *figures, record]
