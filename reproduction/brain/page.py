"""The brain experiments' tables, figures and page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from reproduction.authors import NO_FAULTS
from reproduction.brain.data import MAPS, Patient
from reproduction.brain.measures import maps_of
from reproduction.brain.runs import BASE, SETTING, kept_model, loaded, names_of
from reproduction.pages import CITATION, Entry, draw_spread, markdown_table, options_of, spread, write_page
from reproduction.sweep import Row, aggregated
from vae_loc.evaluation.plots import blank_figure, save_figure
from vae_loc.system.reading import to_csv
from vae_loc.system.writing import write_atomically
from vae_loc.training.calibrate import PARTS

SAMPLE = {"kl": "KL", "rec": "Rec", "elbo": "-ELBO", "area": "brain area (no network)"}
PIXEL = {
    "rec-error": "Rec-Error",
    "kl-grad": "KL-Grad",
    "rec-grad": "Rec-Grad",
    "elbo-grad": "ELBO-Grad",
    "combi": "Combi",
    "intensity": "intensity (no network)",
}
COLOURS = dict(
    zip(
        (*SAMPLE, *PIXEL),
        ("#0072b2", "#d55e00", "#333333", "#999999", "#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#999999"),
        strict=True,
    )
)
AXES = {"latents": ("size of z", "log"), "c": ("c", "log"), "image_size": ("pixels of a slice's side", "linear")}
EXAMPLES = 6


def write_brain(rows: Sequence[Row], folder: Path, slices: Path, *, pictures: str | None) -> list[Path]:
    """Write `table.csv`, `dice.csv`, the figures and `README.md`; return the paths.

    Parameters
    ----------
    slices : the prepared file of the default image size
    pictures : the cohort whose slices are drawn with their maps; None draws none
    """
    cohorts, _ = names_of(rows)
    scores = [f"{cohort}/{name}" for cohort in cohorts for name in _figures_of(rows, cohort)]
    table = aggregated(rows, SETTING, scores)
    dice = [entry for cohort in cohorts for entry in dice_table(rows, cohort)]
    write_atomically(folder / "table.csv", to_csv(table))
    write_atomically(folder / "dice.csv", to_csv(dice))
    figures = [path for cohort in cohorts for path in _curves(table, cohort, folder)]
    if pictures is not None:
        figures += _examples(loaded(slices).cohorts[pictures], folder, loaded(slices).pixel_mm)
    page = _page(table, dice, cohorts, folder, pictures)
    return [folder / "runs.csv", folder / "table.csv", folder / "dice.csv", *figures, page]


def dice_table(rows: Sequence[Row], cohort: str) -> list[dict[str, str | float | int]]:
    """Return Dice on the reported patients, default and fine-tuned, of each map.

    Default: the base setting, its threshold from a fifth of the patients. Fine-tuned: the setting too is the
    one with the best mean Dice on that fifth. Mean over fifths and seeds, lowest and highest of the fifths.
    """
    table: list[dict[str, str | float | int]] = []
    groups: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(row[name] for name in SETTING), []).append(row)
    base = tuple(rows[0][name] for name in SETTING)
    for name in MAPS:
        dice: dict[str, list[float]] = {"default": [], "fine-tuned": []}
        chosen: list[str] = []
        for fold in range(PARTS):
            there = {key: _mean(some, f"{cohort}/{name} dice there {fold}") for key, some in groups.items()}
            elsewhere = {key: _mean(some, f"{cohort}/{name} dice {fold}") for key, some in groups.items()}
            known = [key for key, value in there.items() if value is not None and elsewhere[key] is not None]
            if not known:
                continue
            best = max(known, key=lambda key: there[key] or 0.0)
            for kind, key in (("default", base), ("fine-tuned", best)):
                value = elsewhere.get(key)
                dice[kind] += [] if value is None else [value]
            chosen.append(" ".join(best[1:]))
        entry: dict[str, str | float | int] = {"cohort": cohort, "map": name}
        for kind, values in dice.items():
            for what, summed in (("mean", np.mean), ("min", np.min), ("max", np.max)):
                entry[f"{kind} {what}"] = round(float(summed(values)), 6) if values else ""
        table.append(entry | {"fifths": len(chosen), "chosen (z c size)": "; ".join(chosen)})
    return table


def _mean(rows: Sequence[Row], column: str) -> float | None:
    values = [float(row[column]) for row in rows if row.get(column)]
    return float(np.mean(values)) if values else None


def _figures_of(rows: Sequence[Row], cohort: str) -> list[str]:
    names = [name.partition("/")[2] for name in rows[0] if name.startswith(f"{cohort}/")]
    return [name for name in names if not name[-1].isdigit()]


def _varied(table: Sequence[Entry], column: str) -> list[Entry]:
    wanted = {name: str(value) for name, value in BASE.items() if name != column}
    some = [entry for entry in table if all(entry[name] == value for name, value in wanted.items())]
    return sorted(some, key=lambda entry: float(entry[column]))


def panels_of(table: Sequence[Entry]) -> list[tuple[str, str, str, list[Entry]]]:
    """Return column, title, scale and entries of each axis of the sweep."""
    return [(name, title, scale, _varied(table, name)) for name, (title, scale) in AXES.items()]


def _curves(table: Sequence[Entry], cohort: str, folder: Path) -> list[Path]:
    """Draw sample-wise AUROC above and pixel-wise AUROC below, over what is varied; nothing if nothing is."""
    if not any(len(_varied(table, name)) > 1 for name in AXES):
        return []
    figure = blank_figure((12.0, 6.4))
    axes = figure.subplots(2, len(AXES), sharey="row", squeeze=False)
    for column, (name, title, scale, entries) in enumerate(panels_of(table)):
        x = [float(entry[name]) for entry in entries]
        for row, (kind, shown) in enumerate((("sample auroc", SAMPLE), ("auroc", PIXEL))):
            axis = axes[row, column]
            for score, label in shown.items():
                draw_spread(axis, x, entries, f"{cohort}/{score} {kind}", label, COLOURS[score])
            axis.set(xscale=scale, xlabel=title, ylim=(0, 1))
            axis.set_xticks(x, [f"{value:g}" for value in x])
            axis.minorticks_off()
            axis.axhline(0.5, color="#aaaaaa", lw=0.8, zorder=0)
    axes[0, 0].set_ylabel("AUROC, slices")
    axes[1, 0].set_ylabel("AUROC, pixels inside the brain")
    for row in range(2):
        axes[row, -1].legend(fontsize=7, frameon=False)
    figure.suptitle(cohort, fontsize=11)
    return save_figure(figure, folder, f"figure-{cohort}")


def _examples(patients: Sequence[Patient], folder: Path, pixel_mm: float) -> list[Path]:
    """Draw six diseased slices with their annotation and maps."""
    model, c = kept_model(folder), float(str(BASE["c"]))
    scored = [maps_of(model, patient.stack, c=c, faults=NO_FAULTS, pixel_mm=pixel_mm)[0] for patient in patients]
    sizes = [(number, index, int(patient.truth[index].sum())) for number, patient in enumerate(patients)
             for index in np.flatnonzero(patient.diseased)]  # fmt: skip
    chosen = sizes[:: max(1, len(sizes) // EXAMPLES)][:EXAMPLES]
    titles = ("slice", "annotation", *(PIXEL[name] for name in MAPS[:-1]))
    figure = blank_figure((11.0, 1.6 * max(1, len(chosen))))
    axes = figure.subplots(max(1, len(chosen)), len(titles), squeeze=False)
    for row, (number, index, _) in enumerate(chosen):
        stack, brain = patients[number].stack, patients[number].stack.mask[index]
        shown = [stack.pixels[index], patients[number].truth[index] * 1.0]
        shown += [np.where(brain, scored[number][name][index], 0) for name in MAPS[:-1]]
        for column, values in enumerate(shown):
            axis = axes[row, column]
            axis.imshow(values.T, origin="lower", cmap="gray" if column < 2 else "inferno")
            axis.set_axis_off()
            if row == 0:
                axis.set_title(titles[column], fontsize=9)
    return save_figure(figure, folder, "examples")


def _page(
    table: Sequence[Entry], dice: Sequence[Entry], cohorts: Sequence[str], folder: Path, pictures: str | None
) -> Path:
    parts = [
        f"`python -m reproduction brain {options_of(table[0]['protocol'])}`",
        f"After {CITATION}, Fig. 1 to 3 and Table 1, on these cohorts: {', '.join(cohorts)}. AUROC: mean over the "
        f"seeds [lowest, highest]. Where an axis is not varied: {_base()}.",
    ]
    for cohort in cohorts:
        parts.append(f"## {cohort}")
        if (folder / f"figure-{cohort}.png").exists():
            parts.append(f"![AUROC over what is varied](figure-{cohort}.png)")
        parts += [_sample_table(table, cohort), _pixel_table(table, cohort), _dice(dice, cohort)]
    if pictures is not None:
        parts.append(
            f"## Examples\n\n![Slices of {pictures} and their maps](examples.png)\n\nEach map on its own scale."
        )
    return write_page(folder, f"Brains, protocol `{table[0]['protocol']}`", parts)


def _base() -> str:
    return ", ".join(f"{key} {value}" for key, value in BASE.items())


def _named(entry: Entry) -> str:
    return f"z {entry['latents']}, c {entry['c']}, {entry['image_size']} px"


def _sample_table(table: Sequence[Entry], cohort: str) -> str:
    rows = [
        [_named(entry), *(spread(entry, f"{cohort}/{score} sample auroc") for score in SAMPLE), entry["seeds"]]
        for entry in table
    ]
    return "Slices with lesion against slices without, AUROC:\n\n" + markdown_table(
        ["setting", *SAMPLE.values(), "seeds"], rows
    )


def _pixel_table(table: Sequence[Entry], cohort: str) -> str:
    rows = [[_named(entry), *(spread(entry, f"{cohort}/{name} auroc") for name in PIXEL)] for entry in table]
    return "Pixels inside the brain, AUROC, mean over the patients:\n\n" + markdown_table(
        ["setting", *PIXEL.values()], rows
    )


def _dice(dice: Sequence[Entry], cohort: str) -> str:
    some = [entry for entry in dice if entry["cohort"] == cohort]
    rows = [[PIXEL[str(entry["map"])], spread(entry, "default"), spread(entry, "fine-tuned")] for entry in some]
    text = (
        "Dice on the patients that did not choose the threshold (fine-tuned: nor the setting), mean [lowest, highest] "
        "over the fifths that chose:\n\n"
    )
    return text + markdown_table(["map", "default", "fine-tuned"], rows)
