"""The verdict table, Table 1 and the table of what the background decides, between marks of a page of prose."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from reproduction.brain.page import dice_table
from reproduction.brain.runs import BASE as BRAIN_BASE
from reproduction.brain.runs import SETTING as BRAIN_SETTING
from reproduction.fashion_mnist.runs import SCORES
from reproduction.fashion_mnist.runs import SETTING as FASHION_SETTING
from reproduction.pages import markdown_table, spread
from reproduction.paper.figures import draw_figure_1, draw_figure_2
from reproduction.paper.statements import (
    SHOWN,
    Finding,
    combi_beats_error,
    counted,
    error_is_beaten,
    kl_or_combi_is_best,
    map_columns,
    number,
    together,
    top_auroc,
    value,
)
from reproduction.paper.verdicts import COHORTS, STROKE, Runs, all_statements
from reproduction.sweep import Row, aggregated, read_rows
from vae_loc.errors import UnusableInput
from vae_loc.system.writing import write_atomically

# Table 1 of the paper: Dice of the whole tumour; the year of BraTS in brackets
TABLE_1 = (
    ("α-GAN (2015)", "deep learning, cited", "0.37"),
    ("VAE-Rec (2015)", "deep learning, cited", "0.42"),
    ("default (2017)", "the paper's own", "0.36"),
    ("fine-tuned (2017)", "the paper's own", "0.44"),
    ("GHMRF (2013)", "no deep learning, cited", "0.72"),
    ("X-Saliency (2014, high grade)", "no deep learning, cited", "0.75"),
    ("GMM (2015)", "no deep learning, cited", "0.22"),
)
MAPS = {**SHOWN, "intensity": "bare T2 intensity, no network"}
METRICS = {
    "auroc": "inside the brain, mean over patients",
    "auroc pooled": "inside the brain, pooled",
    "auroc all pixels": "all pixels, pooled",
}
TRAININGS = {"brain": 2000, "brain-1000-steps": 1000}  # folder: steps
NEEDED = ("brain", "brain-1000-steps", "brain-stroke", "fashion-mnist-authors", "fashion-mnist-fast",
          "fashion-mnist-paper", "mixture")  # fmt: skip


def write_paper(folder: Path) -> list[Path]:
    """Write the tables into `README.md` and draw Fig. 1 and 2 from the runs in the folder; return the paths.

    Raises
    ------
    UnusableInput : if the runs of an experiment, the page or one of its marks are missing.
    """
    runs: Runs = {name: read_rows(folder / name / "runs.csv") for name in NEEDED}
    for name, rows in runs.items():
        if not rows:
            raise UnusableInput(folder / name / "runs.csv", "expected the runs of `python -m reproduction`, found none")
    page = folder / "README.md"
    text = page.read_text()
    for mark, table in (
        ("verdicts", verdict_table(runs)),
        ("table 1", table_1(runs)),
        ("metric", metric_table(runs)),
        ("default", default_table(runs)),
        ("background", background_table(runs)),
    ):
        text = replaced(text, mark, table, page)
    write_atomically(page, text.encode())
    return [page, *draw_figures(runs, folder)]


def draw_figures(runs: Runs, folder: Path) -> list[Path]:
    """Draw Fig. 1, Fig. 2, and Fig. 2 of the other cohort, which stands for the supplement's."""
    fashion = aggregated(runs["fashion-mnist-paper"], FASHION_SETTING, SCORES)
    columns = [name for name in runs["brain"][0] if name.endswith(("auroc", "auroc all pixels"))]
    brain = aggregated(runs["brain"], BRAIN_SETTING, columns)
    return [
        *draw_figure_1(fashion, brain, "gliomas", folder),
        *draw_figure_2(brain, "gliomas", folder, "figure-2"),
        *draw_figure_2(brain, "ms", folder, "figure-supplement"),
    ]


def replaced(text: str, mark: str, table: str, page: Path) -> str:
    """Return a page with what stands between two marks replaced by a table.

    Raises
    ------
    UnusableInput : if the page lacks a mark.
    """
    begin, end = f"<!-- {mark} -->\n", f"<!-- end of {mark} -->"
    before, found, rest = text.partition(begin)
    _, found_end, after = rest.partition(end)
    if not found or not found_end:
        raise UnusableInput(page, f"expected the marks {begin.strip()} and {end}, found one at most")
    return f"{before}{begin}\n{table}\n\n{end}{after}"


def verdict_table(runs: Runs) -> str:
    """Return the statements of the paper, each with its mark, its figures and the letters of its commands."""
    rows = [
        [
            one.section,
            one.text,
            f"**{together([finding.mark for finding in one.findings])}**",
            "<br>".join(shown(finding) for finding in one.findings),
            one.commands,
        ]
        for one in all_statements(runs)
    ]
    return markdown_table(["section", "the paper", "verdict", "measured here", "command"], rows)


def shown(finding: Finding) -> str:
    """Return a finding as a cell has it.

    >>> shown(Finding("MS", "7 of 10", "holds", 3))
    'MS: 7 of 10 (3 seeds), holds'
    """
    seeds = "1 seed" if finding.seeds == 1 else f"{finding.seeds} seeds"
    return f"{finding.data}: {finding.text} ({seeds}), {finding.mark}"


def table_1(runs: Runs) -> str:
    """Return Table 1 of the paper with Dice of the gliomas at hand below it."""
    rows = [[f"{name}, {kind}", dice, "", ""] for name, kind, dice in TABLE_1]
    for folder, steps in TRAININGS.items():
        entries = {str(entry["map"]): entry for entry in dice_table(runs[folder], "gliomas")}
        rows += [
            [f"{title}, {steps} steps", "", spread(entries[name], "default"), spread(entries[name], "fine-tuned")]
            for name, title in MAPS.items()
            if name != "intensity" or folder == "brain"
        ]
    return markdown_table(["method (year of BraTS)", "in the paper", "here, default", "here, fine-tuned"], rows)


def metric_table(runs: Runs) -> str:
    """Return the statements on maps, each under three ways to measure AUROC, for both trainings and cohorts."""
    tests: dict[str, Callable[[dict[str, str]], Callable[[Row], bool]]] = {
        "another map beats Rec-Error": error_is_beaten,
        "KL-Grad or Combi is best": kl_or_combi_is_best,
        "Combi beats Rec-Error": combi_beats_error,
    }
    rows = []
    for cohort, title_of in COHORTS.items():
        for folder, steps in TRAININGS.items():
            for title, test in tests.items():
                found = [counted("", runs[folder], BRAIN_SETTING, test(map_columns(cohort, kind))) for kind in METRICS]
                rows.append([f"{title_of}, {steps} steps: {title}", *(f"{one.text}, {one.mark}" for one in found)])
            tops = [top_auroc("", runs[folder], BRAIN_SETTING, map_columns(cohort, kind)) for kind in METRICS]
            rows.append([f"{title_of}, {steps} steps: top AUROC > 0.9", *(f"{one.text}, {one.mark}" for one in tops)])
    return markdown_table(["statement", *METRICS.values()], rows)


def background_table(runs: Runs) -> str:
    """Return AUROC of each map at the default setting under the three ways to measure it."""
    rows = []
    for cohort, title_of in COHORTS.items():
        some = [row for row in runs["brain"] if is_default(row)]
        for name, title in MAPS.items():
            figures = [[value(row, f"{cohort}/{name} {kind}") for row in some] for kind in METRICS]
            rows.append([f"{title_of}: {title}", *(number(values) for values in figures)])
    return markdown_table(["map", *METRICS.values()], rows)


def default_table(runs: Runs) -> str:
    """Return AUROC inside the brain at the default setting, for gliomas, MS and strokes."""
    cohorts = {"gliomas": ("gliomas", "brain"), "MS": ("ms", "brain"), "strokes": (STROKE, "brain-stroke")}
    rows = []
    for name, title in MAPS.items():
        columns = [
            number([value(row, f"{cohort}/{name} auroc") for row in runs[folder] if is_default(row)])
            for cohort, folder in cohorts.values()
        ]
        rows.append([title, *columns])
    return markdown_table(["map", *cohorts], rows)


def is_default(row: Row) -> bool:
    """Return whether a run of brains has the default setting, whatever its seed."""
    return all(row[name] == str(wanted) for name, wanted in BRAIN_BASE.items())
