"""Each statement of the paper with the runs of the experiments that support or contradict it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from reproduction.brain.page import dice_table
from reproduction.brain.runs import SETTING as BRAIN_SETTING
from reproduction.fashion_mnist.runs import BASE, FINE_TUNED, settings_of
from reproduction.fashion_mnist.runs import SETTING as FASHION_SETTING
from reproduction.pages import spread
from reproduction.paper.statements import (
    Finding,
    Mark,
    by_seed,
    combi_beats_error,
    counted,
    elbo_is_better,
    error_is_beaten,
    kl_or_combi_is_best,
    map_columns,
    mark_of,
    number,
    rec_is_weaker,
    robustness,
    top_auroc,
    value,
)
from reproduction.sweep import Row

PAPER_KL = 0.82  # 3.1, class 5 with log c = 1.4
ROUNDING = 0.005
COHORTS = {"gliomas": "gliomas", "ms": "MS"}
STROKE = "stroke"
KINDS = {"auroc": "inside the brain", "auroc all pixels": "background counted"}
FASHION_SCORES = {name: name for name in ("kl", "rec", "elbo")}
# settings that constrain the network, by section 3.1: fewer latents, or a reconstruction that weighs less
DEFAULT_LATENTS, DEFAULT_LOG_C = int(str(BASE["latents"])), float(str(BASE["log_c"]))
Runs = Mapping[str, Sequence[Row]]


@dataclass(frozen=True)
class Statement:
    """A sentence of the paper, what was found of it, and the letters of the commands that measured it."""

    section: str
    text: str
    findings: Sequence[Finding]
    commands: str


def all_statements(runs: Runs) -> list[Statement]:
    """Return the statements of sections 3.1 to 4 and of the supplement, in the paper's order."""
    return [*sample_statements(runs), *pixel_statements(runs), *dice_statements(runs["brain"]), mixture_statement(runs)]


def sample_statements(runs: Runs) -> list[Statement]:
    """Return the statements of section 3.1."""
    swept = {f"FashionMNIST, `{name}`": default_axes(runs[f"fashion-mnist-{name}"]) for name in ("paper", "fast")}
    weaker = [counted(title, rows, FASHION_SETTING, rec_is_weaker(FASHION_SCORES)) for title, rows in swept.items()]
    better = [counted(title, rows, FASHION_SETTING, elbo_is_better(FASHION_SCORES)) for title, rows in swept.items()]
    for cohort, shown in COHORTS.items():
        names = {name: f"{cohort}/{name} sample auroc" for name in FASHION_SCORES}
        weaker.append(counted(f"slices, {shown}", runs["brain"], BRAIN_SETTING, rec_is_weaker(names)))
        better.append(counted(f"slices, {shown}", runs["brain"], BRAIN_SETTING, elbo_is_better(names)))
    protocols = ("paper", "authors", "fast")
    return [
        Statement(
            "3.1",
            "In most settings Rec separates worse than KL or the ELBO (here: than one of them).",
            weaker,
            "A, C, D",
        ),
        Statement(
            "3.1",
            "Where Rec leads, the network is severely constrained.",
            [constrained(title, rows) for title, rows in swept.items()],
            "A, C",
        ),
        Statement("3.1", "Including KL helps: in most settings the ELBO separates better than Rec.", better, "A, C, D"),
        Statement(
            "3.1",
            "Class 5 has the largest gap between Rec and KL.",
            [widest_gap(title, rows) for title, rows in swept.items()],
            "A, C",
        ),
        Statement(
            "3.1",
            "Class 5 with log c = 1.4: KL reaches 0.82 and clearly leads Rec.",
            [fine_tuned(name, runs[f"fashion-mnist-{name}"]) for name in protocols],
            "A, B, C",
        ),
    ]


def pixel_statements(runs: Runs) -> list[Statement]:
    """Return the statements of sections 3.2, 3.3 and 4 on maps, each inside the brain and with the background."""
    rows = runs["brain"]
    beaten, best, top, steady, improved, elsewhere = [], [], [], [], [], []
    for kind, where in KINDS.items():
        columns, title = map_columns("gliomas", kind), f"gliomas, {where}"
        beaten.append(counted(title, rows, BRAIN_SETTING, error_is_beaten(columns)))
        best.append(counted(title, rows, BRAIN_SETTING, kl_or_combi_is_best(columns)))
        top.append(top_auroc(title, rows, BRAIN_SETTING, columns))
        steady.append(robustness(title, rows, BRAIN_SETTING, columns))
        improved.append(counted(title, rows, BRAIN_SETTING, combi_beats_error(columns)))
        columns = map_columns("ms", kind)
        elsewhere.append(counted(f"MS, {where}", rows, BRAIN_SETTING, kl_or_combi_is_best(columns)))
        columns = map_columns(STROKE, kind)
        strokes = runs["brain-stroke"]
        elsewhere.append(counted(f"strokes, {where}", strokes, BRAIN_SETTING, kl_or_combi_is_best(columns)))
    return [
        Statement("3.2", "In most settings Rec-Error alone is outperformed by another map.", beaten, "D"),
        Statement("3.2", "In most settings KL-Grad or Combi is the best map.", best, "D"),
        Statement("3.2, supplement", "The same on ISLES 2015 (here MS and two strokes).", elsewhere, "D, E"),
        Statement("3.3", "The top maps exceed an AUROC of 0.9.", top, "D"),
        Statement("3.3", "KL-Grad and Combi vary less over the settings than Rec-Error (range of AUROC).", steady, "D"),
        Statement("4", "Combining Rec-Error with KL-Grad (Combi) regularly improves on Rec-Error.", improved, "D"),
    ]


def dice_statements(rows: Sequence[Row]) -> list[Statement]:
    """Return the statements about Table 1; the spread is over the fifths that chose the threshold."""
    dice = {str(entry["map"]): entry for entry in dice_table(rows, "gliomas")}
    raised, ahead = [], []
    seeds = len(by_seed(rows, BRAIN_SETTING))
    error = dice["rec-error"]
    for name, shown in (("kl-grad", "KL-Grad"), ("combi", "Combi")):
        default, tuned = (f"{spread(dice[name], kind)}" for kind in ("default", "fine-tuned"))
        up = float(dice[name]["fine-tuned mean"]) > float(dice[name]["default mean"])
        raised.append(Finding(f"gliomas, {shown}", f"{default} to {tuned}", mark_of([up]), seeds))
        over = float(dice[name]["fine-tuned mean"]) > float(error["fine-tuned mean"])
        ahead.append(
            Finding(f"gliomas, {shown}", f"{tuned} against {spread(error, 'fine-tuned')}", mark_of([over]), seeds)
        )
    return [
        Statement("3.3, Table 1", "Fine-tuning raises Dice (0.36 to 0.44).", raised, "D"),
        Statement("1, Table 1", "Fine-tuned, the model beats a VAE's reconstruction error (0.44 to 0.42).", ahead, "D"),
    ]


def mixture_statement(runs: Runs) -> Statement:
    """Return how well the ELBO's gradient follows the density's, beside those of its terms."""
    rows = runs["mixture"]
    names = {"elbo": "ELBO", "kl": "KL", "rec": "Rec"}
    cosines = {name: [value(row, f"{name} cosine") for row in rows] for name in names}
    ahead = [e > max(k, r) for e, k, r in zip(*cosines.values(), strict=True)]
    text = "cosine " + ", ".join(f"{shown} {number(cosines[name])}" for name, shown in names.items())
    finding = Finding("Gaussian mixture", text, mark_of(ahead), len(rows))
    return Statement("2.2, supplement", "The ELBO's gradient points to the density's mass.", [finding], "F")


def default_axes(rows: Sequence[Row]) -> list[Row]:
    """Return the runs of FashionMNIST that the paper describes: each axis varied around its defaults, class 0."""
    wanted = [
        {name: str(one[name]) for name in FASHION_SETTING}
        for one in settings_of(rows[0]["protocol"], ("latents", "log-c", "scaling", "class"))
        if one["class"] == BASE["class"] or one["log_c"] == BASE["log_c"]
    ]
    return [row for row in rows if {name: row[name] for name in FASHION_SETTING} in wanted]


def constrained(title: str, rows: Sequence[Row]) -> Finding:
    """Return in how many settings Rec leads both others, and how many of these constrain the network."""
    leads, narrow = [], []
    for some in by_seed(rows, FASHION_SETTING).values():
        led = [row for row in some if value(row, "rec") > max(value(row, "kl"), value(row, "elbo"))]
        leads.append(len(led))
        narrow.append(sum(int(row["latents"]) < DEFAULT_LATENTS or float(row["log_c"]) > DEFAULT_LOG_C for row in led))
    mark: Mark = "holds" if narrow == leads else "in part" if any(narrow) else "does not hold"
    text = f"Rec leads in {number(leads, 1)} settings, of which {number(narrow, 1)} constrain the network"
    return Finding(title, text, mark, len(leads))


def widest_gap(title: str, rows: Sequence[Row]) -> Finding:
    """Return which class has the largest Rec less KL, with log c = 0."""
    gaps: dict[str, dict[str, float]] = {}
    for row in rows:
        setting = {name: row[name] for name in ("latents", "log_c", "scaling", "change")}
        if setting == {name: str(BASE[name]) for name in ("latents", "log_c", "scaling")} | {"change": ""}:
            gaps.setdefault(row["seed"], {})[row["class"]] = value(row, "rec") - value(row, "kl")
    tuned = str(FINE_TUNED["class"])
    whole = [of for of in gaps.values() if len(of) == max(len(other) for other in gaps.values())]
    widest = [max(of, key=lambda name: of[name]) == tuned for of in whole]
    others = [max(gap for name, gap in of.items() if name != tuned) for of in whole]
    text = f"Rec less KL {number([of[tuned] for of in whole])}, the next class {number(others)}"
    return Finding(title, text, mark_of(widest), len(whole))


def fine_tuned(protocol: str, rows: Sequence[Row]) -> Finding:
    """Return KL and Rec of class 5 with log c = 1.4."""
    some = [row for row in rows if all(row[name] == str(wanted) for name, wanted in _FINE_TUNED.items())]
    kl, rec = ([value(row, name) for row in some] for name in ("kl", "rec"))
    mark = mark_of([*(one >= PAPER_KL - ROUNDING for one in kl), min(kl) > max(rec)])
    return Finding(f"protocol `{protocol}`", f"KL {number(kl)}, Rec {number(rec)}", mark, len(some))


_FINE_TUNED = BASE | FINE_TUNED | {"log_c": 1.4, "change": ""}
