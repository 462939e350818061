"""The facts of models, as tables on screen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from vae_loc.errors import printable
from vae_loc.model.checkpoint import Checkpoint, healthy_threshold
from vae_loc.scoring.findings import known_findings, strength_for
from vae_loc.scoring.score_options import default_rate
from vae_loc.vocabulary import METHODS, Method

if TYPE_CHECKING:
    from rich.table import Column, Table

SHOWN_FPRS = (0.01, 0.05, 0.10)
SHOWN_DIGEST = 12  # characters of a SHA-256
LEAST = "above which a region is a finding by default"


def model_list(models: Mapping[str, Checkpoint]) -> Table:
    """Return a table of models by name: their contrast, the people behind them, the strength of their findings."""
    columns = ("model", "contrast", "learned from", "thresholds from", "findings from", "SHA-256")
    table = _table("Shipped models; vae-loc info NAME shows more", *columns)
    for name, model in models.items():
        people = _learned(model), _thresholds_from(model)
        table.add_row(name, model.facts.contrast, *people, _least(model, "combi"), model.digest[:SHOWN_DIGEST])
    table.caption = f"findings from: strength in Combi {LEAST}"
    return table


def model_tables(path: Path, model: Checkpoint) -> list[Table]:
    """Return the facts of a model, and the thresholds of each map."""
    from rich.markup import escape
    from rich.table import Column

    facts = model.facts
    title = escape(f"{printable(path.name)}: a model of healthy {printable(facts.contrast)} brains")
    about = _table(title, Column(style="bold"), Column(overflow="fold"))
    about.show_header = False
    network = facts.network
    rows = {
        "file": printable(path),
        "SHA-256": model.digest,
        "learned from": _learned(model),
        "thresholds from": _thresholds_from(model),
        "network": f"{network.latents} latents, slices of {network.image_size} pixels, c = {network.c:g}",
        "training": f"{facts.training.epochs} epochs of {facts.training.slices} slices, seed {facts.training.seed}",
        "alignment": facts.preprocessing.pose,
        "maps": facts.preprocessing.normalisation,
        "brain masks": facts.training.brain_mask,
        "made by": f"vae-loc {facts.training.versions.get('vae-loc', '?')}, format {facts.format_version}",
    }
    if (known := known_findings(facts, "combi")) is not None:
        kinds = " and ".join(f"{count} {kind}" for kind, count in Counter(known.kinds).items())
        rows["findings against"] = f"{kinds} scans"
    if (of := facts.labelled) is not None:
        counts = of.calibration_subjects, of.reported_subjects
        rows["annotated"] = "{} subjects chose the thresholds, {} others checked".format(*counts)
    for name, text in rows.items():
        about.add_row(name, escape(printable(text)))
    return [about, *([] if facts.healthy is None else [_thresholds(model)])]


def _thresholds(model: Checkpoint) -> Table:
    """Return the least strength of a finding in each map, and the values that shares of healthy voxels exceed."""
    from rich.table import Column

    labelled = model.facts.labelled
    columns = ["finding from", *(f"{fpr:.0%} of healthy voxels above" for fpr in SHOWN_FPRS)]
    columns += [] if labelled is None else ["best Dice on annotated scans"]
    table = _table("Map values", "map", *(Column(name, justify="right") for name in columns))
    for method in METHODS:
        shares = [f"{healthy_threshold(model, method, fpr):.3g}" for fpr in SHOWN_FPRS]
        chosen = [] if labelled is None else [f"{labelled.thresholds[method]:.3g}"]
        table.add_row(method, _least(model, method), *shares, *chosen)
    table.caption = f"finding from: strength {LEAST}"
    return table


def _learned(model: Checkpoint) -> str:
    """Return the people that the network learned from."""
    training = model.facts.training
    said = f"{training.subjects} healthy people"
    if training.synthesized_from is None:
        return said
    return f"{said} ({training.synthesized_from}, made to look like {model.facts.contrast})"


def _thresholds_from(model: Checkpoint) -> str:
    """Return the people that the thresholds rest on."""
    healthy = model.facts.healthy
    return "nobody: calibrate it" if healthy is None else f"{healthy.subjects} others"


def _least(model: Checkpoint, method: Method) -> str:
    """Return the strength above which a region is a finding by default."""
    known = known_findings(model.facts, method)
    return "-" if known is None else f"{strength_for(known, default_rate(known)):.3g}"


def _table(title: str, *columns: Column | str) -> Table:
    from rich import box
    from rich.table import Table

    return Table(*columns, box=box.SIMPLE_HEAD, title=title, title_justify="left", caption_justify="left")
