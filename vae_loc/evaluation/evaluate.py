"""Annotated scans -> `evaluation.json`, `evaluation.csv` and figures in a folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vae_loc.evaluation.cohort_metrics import Evaluation, evaluate, records
from vae_loc.evaluation.cohort_model import model_for, refuse_several, stated_contrast
from vae_loc.evaluation.plots import save_figures
from vae_loc.model.network import Model, load_model
from vae_loc.scans.annotations import LabelledCase, find_labelled
from vae_loc.scans.cases import Case, find_cases
from vae_loc.system.progress import BarMaker
from vae_loc.system.reading import to_csv
from vae_loc.system.writing import check_place, refuse_inputs, together, write_atomically, write_json
from vae_loc.vocabulary import BrainMask


@dataclass(frozen=True)
class EvaluationOptions:
    """What is evaluated, and how.

    Attributes
    ----------
    model : a model's name or file; None chooses a shipped one by `contrast`, names or intensities
    contrast : what the scans are, to choose the model
    labels : a path with `{subject}`, or a table of scans and labels
    healthy : healthy scans that the model never saw
    """

    model: str | None = None
    contrast: str | None = None
    labels: str | None = None
    healthy: Sequence[Path] = ()
    brain_mask: BrainMask | None = None
    device: str = "cpu"
    seed: int = 0


def evaluate_files(
    scans: Sequence[Path], output: Path, options: EvaluationOptions, *, bars: BarMaker
) -> tuple[Evaluation, list[Path]]:
    """Evaluate a model and write all figures; the JSON comes last.

    Raises
    ------
    UnusableOption, UnusableInput, UnusableModel : as `evaluate`, `find_labelled` and `model_for`.
    """
    table, record = output / "evaluation.csv", output / "evaluation.json"
    check_place(table)
    refuse_inputs([table, record], [*scans, *options.healthy, *([Path(options.labels)] if options.labels else [])])
    model, pairs, healthy = _cohort(scans, options)
    result = evaluate(
        pairs,
        model,
        healthy=healthy,
        brain_mask=options.brain_mask,
        seed=options.seed,
        bars=bars,
    )
    with together():
        write_atomically(table, to_csv(records(result)))
        figures = save_figures(result, output)
        write_json(record, result.record.model_dump(mode="json"))
    return result, [table, *figures, record]


def _cohort(scans: Sequence[Path], options: EvaluationOptions) -> tuple[Model, list[LabelledCase], list[Case]]:
    """Return the model, the annotated scans and the healthy ones; of folders only those of the model's contrast.

    Raises
    ------
    UnusableOption : if the model is not named, and the scans are of several contrasts.
    """
    if options.model is not None:
        model = load_model(options.model, options.device)
        pairs = find_labelled(scans, options.labels, contrast=model.facts.contrast)
    else:
        pairs = find_labelled(scans, options.labels, contrast=options.contrast)
        model = model_for(
            [pair.case for pair in pairs],
            contrast=options.contrast,
            brain_mask=options.brain_mask,
            device=options.device,
        )
    own = model.facts.contrast
    healthy = find_cases(options.healthy, contrast=own) if options.healthy else []
    if options.model is None:
        refuse_several({own, *(stated_contrast(case, options.contrast) or own for case in healthy)})
    return model, pairs, healthy
