"""The table and page of the authors' faults."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from reproduction.brain.data import MAPS
from reproduction.brain.page import PIXEL
from reproduction.brain.runs import names_of
from reproduction.faults.runs import FAULTS, SETTING
from reproduction.pages import CITATION, Entry, markdown_table, options_of, spread, write_page
from reproduction.sweep import Row, aggregated
from vae_loc.system.reading import to_csv
from vae_loc.system.writing import write_atomically

KINDS = {"auroc": "inside the brain, mean over the patients", "auroc all pixels": "all pixels, background included"}


def write_faults(rows: Sequence[Row], folder: Path) -> list[Path]:
    """Write `table.csv` and `README.md`; return the paths."""
    cohorts, _ = names_of(rows)
    scores = [name for name in rows[0] if "/" in name and not name[-1].isdigit()]
    table = sorted(aggregated(rows, SETTING, scores), key=lambda entry: (entry["c"], FAULTS.index(str(entry["fault"]))))
    write_atomically(folder / "table.csv", to_csv(table))
    parts = [
        f"`python -m reproduction faults {options_of(table[0]['protocol'])}`",
        f"What the authors' published script does differently from the text of {CITATION}, switched on one at a time. "
        "Mean over the seeds [lowest, highest]. The double exp is in the training too; "
        "the other lines share the networks of `none`.",
    ]
    for cohort in cohorts:
        parts.append(f"## {cohort}")
        parts += [f"AUROC, {title}:\n\n{_areas(table, cohort, kind)}" for kind, title in KINDS.items()]
        parts.append(f"Combi beside its factors, inside the brain:\n\n{_alike(table, cohort)}")
    page = write_page(folder, "The faults of the published script", parts)
    return [folder / "runs.csv", folder / "table.csv", page]


def _areas(table: Sequence[Entry], cohort: str, kind: str) -> str:
    rows = [
        [entry["fault"], entry["c"], *(spread(entry, f"{cohort}/{name} {kind}") for name in MAPS), entry["seeds"]]
        for entry in table
    ]
    return markdown_table(["fault", "c", *PIXEL.values(), "seeds"], rows)


def _alike(table: Sequence[Entry], cohort: str) -> str:
    names = {
        "combi rank kl-grad": "rank correlation with KL-Grad",
        "combi rank rec-error": "with Rec-Error",
        "rec-error negative": "share of Rec-Error below 0",
        "combi dice": "Dice, split",
        "combi dice oracle": "Dice, threshold tuned on the same pixels",
        "constant auroc all pixels": "AUROC of a constant, all pixels",
    }
    rows = [[entry["fault"], entry["c"], *(spread(entry, f"{cohort}/{name}") for name in names)] for entry in table]
    return markdown_table(["fault", "c", *names.values()], rows)
