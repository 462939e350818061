"""Evaluate the shipped model on the shared scans: `docs/measured/evaluation.md`.

    python -m benchmarks.measured.evaluation --shared ../shared/data -o docs/measured/evaluation.md

Gliomas and multiple sclerosis (T1), and whether "5 % of healthy voxels" holds: the held-out healthy
subjects are halved, one half calibrates, the other is flagged.
"""

from __future__ import annotations

import argparse
import io
import platform
from pathlib import Path

import torch
from rich.console import Console

from benchmarks.cohorts import LABELS
from benchmarks.command import finish, parser_of
from benchmarks.page import table
from vae_loc.cli.tables.evaluation_tables import evaluation_tables
from vae_loc.evaluation.cohort_findings import STATED_SHARES, healthy_rates, measure_healthy
from vae_loc.evaluation.cohort_metrics import Evaluation, evaluate
from vae_loc.model.network import Model, load_model, ready
from vae_loc.scans.annotations import find_labelled
from vae_loc.scans.cases import find_cases
from vae_loc.system.progress import no_bars
from vae_loc.training.healthy_reference import calibrate_cases
from vae_loc.training.training_record import read_record
from vae_loc.vocabulary import METHODS

COHORTS = ("gliomas", "ms")


def main() -> None:
    """Print and write the page."""
    parser = parser_of(__doc__, shared=True, output=True)
    parser.add_argument("-m", "--model", default="t1")
    parser.add_argument("--record", type=Path, default=Path("models/t1.training.json"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    model = load_model(options.model)
    contrast = model.facts.contrast
    text = (
        f"# Evaluation of the model {options.model}\n\nModel {model.digest[:12]}, {contrast}. Made by "
        f"`python -m benchmarks.measured.evaluation -m {options.model}`; seed 0, {platform.machine()}, torch {torch.__version__}. "
        "What the figures mean, and which to trust: [metrics.md](../reference/metrics.md).\n"
    )
    for cohort in COHORTS:
        pairs = find_labelled([options.shared / cohort], LABELS[cohort], contrast=contrast)
        result = evaluate(pairs, model, bars=no_bars)
        text += f"\n## {cohort}: {len(pairs)} patients\n\n```\n{shown(result)}```\n\n{by_subject(result)}"
    text += f"\n## Healthy scans of the same scanner\n\n{halves(options, model)}"
    finish(text, options.output)


def shown(result: Evaluation) -> str:
    """Return the tables that the command shows."""
    console = Console(width=150, no_color=True, record=True, file=io.StringIO())
    for of in evaluation_tables(result):
        console.print(of)
    lines = [
        f"slices {name}: AUROC {entry.auroc:.3f} [{entry.interval[0]:.3f}, {entry.interval[1]:.3f}]"
        for name, entry in result.record.slices.scores.items()
    ]
    return console.export_text() + "\n".join(lines) + "\n"


def by_subject(result: Evaluation) -> str:
    """Return AUROC / AP of every subject as Markdown."""
    rows = []
    for name in result.curves:
        of = [next(row.figures for row in measured.rows if row.map == name) for measured in result.measured]
        rows.append([name, *(f"{one['auroc']:.3f} / {one['average_precision']:.3f}" for one in of)])
    shares = [measured.facts.lesion_ml / measured.facts.brain_ml for measured in result.measured]
    rows.append(["prevalence", *(f"0.500 / {share:.3f}" for share in shares)])
    return table(["AUROC / AP", *(measured.facts.subject for measured in result.measured)], rows)


def halves(options: argparse.Namespace, model: Model) -> str:
    """Calibrate on every second held-out subject, flag the others."""
    held_out = read_record(options.record).holdout_subjects
    cases = find_cases([options.shared / "ixi" / f"{name}_t1.nii.gz" for name in held_out])
    calibrated = ready(calibrate_cases(model.checkpoint, cases[::2]))
    scans = measure_healthy(cases[1::2], calibrated, brain_mask=None, progress=lambda _: None)
    rates = healthy_rates(scans, seed=0)
    rows = []
    for index, share in enumerate(STATED_SHARES):
        cells = [rates.measured[name][index] for name in METHODS]
        rows.append([f"{share:.1%}", *(f"{c.mean:.2%} [{c.low:.2%}, {c.high:.2%}]" for c in cells)])
    text = f"{len(cases[::2])} held-out subjects calibrate, {rates.subjects} others are flagged; mean [95 %].\n\n"
    return text + table(["stated", *METHODS], rows)


if __name__ == "__main__":
    main()
