"""Annotated scans -> `evaluation.json`, `evaluation.csv` and figures in a folder."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from vae_loc.errors import UnusableInput, UnusableModel, UnusableOption
from vae_loc.evaluation.cohort_metrics import Evaluation, evaluate, records
from vae_loc.evaluation.plots import save_figures
from vae_loc.model.checkpoint import shipped_models
from vae_loc.model.network import Model, load_model
from vae_loc.preprocessing.open_scan import open_scan
from vae_loc.scans.annotations import LabelledCase, find_labelled
from vae_loc.scans.cases import Case, contrast_of, find_cases
from vae_loc.scoring.locate import contrast_by_intensities, taken_by_intensities
from vae_loc.system.progress import BarMaker
from vae_loc.system.reading import to_csv
from vae_loc.system.writing import check_place, refuse_inputs, together, write_atomically, write_json
from vae_loc.vocabulary import BrainMask


@dataclass(frozen=True)
class EvaluationOptions:
    """Model, annotations, healthy scans and other options of an evaluation.

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
    UnusableOption : if no model is named, and the scans are of several contrasts; or as `find_labelled`.
    UnusableInput : if no scan can be used.
    UnusableModel : if no shipped model is of the scans' contrast, or the model cannot be used.
    """
    table, record = output / "evaluation.csv", output / "evaluation.json"
    check_place(table)
    refuse_inputs([table, record], [*scans, *options.healthy, *([Path(options.labels)] if options.labels else [])])
    model, pairs, healthy = _cohort(scans, options)
    result = evaluate(pairs, model, healthy=healthy, brain_mask=options.brain_mask, seed=options.seed, bars=bars)
    with together():
        write_atomically(table, to_csv(records(result)))
        figures = save_figures(result, output)
        write_json(record, result.record.model_dump(mode="json"))
    return result, [table, *figures, record]


def _cohort(scans: Sequence[Path], options: EvaluationOptions) -> tuple[Model, list[LabelledCase], list[Case]]:
    """Return the model, the annotated scans and the healthy ones; of folders only those of the model's contrast."""
    if options.model is not None:
        model = load_model(options.model, options.device)
        pairs = find_labelled(scans, options.labels, contrast=model.facts.contrast)
    else:
        pairs = find_labelled(scans, options.labels, contrast=options.contrast)
        model = _shipped_model([pair.case for pair in pairs], options)
    own = model.facts.contrast
    healthy = find_cases(options.healthy, contrast=own) if options.healthy else []
    if options.model is None:
        _refuse_several({own, *(_stated_contrast(case, options) or own for case in healthy)})
    return model, pairs, healthy


def _shipped_model(cases: Sequence[Case], options: EvaluationOptions) -> Model:
    """Return the shipped model of the contrast that all scans have: as stated, else by their intensities."""
    contrasts: set[str] = set()
    faults: list[UnusableInput] = []
    for case in cases:
        try:
            contrast = _stated_contrast(case, options)
            if contrast is None:
                contrast = contrast_by_intensities(open_scan(case, brain_mask=options.brain_mask))
                logging.getLogger(__name__).warning(taken_by_intensities(case, contrast))
            contrasts.add(contrast)
        except UnusableInput as error:  # the evaluation lists it
            faults.append(error)
    if not contrasts:
        raise faults[0]
    _refuse_several(contrasts)
    (wanted,) = contrasts
    known = shipped_models()
    if wanted not in known:
        raise UnusableModel(wanted, f"expected a contrast of a shipped model ({', '.join(known)}); give one with -m")
    return load_model(wanted, options.device)


def _stated_contrast(case: Case, options: EvaluationOptions) -> str | None:
    """Return the contrast of a scan by its table, the option or its name; None if none of them states it."""
    return case.contrast or options.contrast or contrast_of(case.scan)


def _refuse_several(contrasts: Collection[str]) -> None:
    if len(contrasts) > 1:
        found = f"expected scans of one contrast, found {', '.join(sorted(contrasts))}"
        mend = f"name the scans of one, or a folder with --contrast {max(contrasts)}"
        raise UnusableOption("--contrast", f"{found}; evaluate them one contrast at a time: {mend}")
