"""The commands that look at a model or hand it on: info, export."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vae_loc.cli.console import say, show
from vae_loc.cli.options import AsJson, completed_models
from vae_loc.errors import printable

if TYPE_CHECKING:
    from vae_loc.model.checkpoint import Checkpoint


def describe(checkpoint: Checkpoint) -> dict[str, object]:
    """Return the facts of a model, flat, in reading order."""
    from vae_loc.cli.tables.model_tables import SHOWN_FPRS
    from vae_loc.model.checkpoint import healthy_threshold
    from vae_loc.vocabulary import METHODS

    facts = checkpoint.facts
    described: dict[str, object] = {
        "file": str(checkpoint.path),
        "sha256": checkpoint.digest,
        "format_version": facts.format_version,
        "contrast": facts.contrast,
    }
    described |= facts.network.model_dump() | facts.preprocessing.model_dump() | facts.training.model_dump()
    if facts.healthy is not None:
        described["healthy_subjects"] = facts.healthy.subjects
        for method in METHODS:
            for fpr in SHOWN_FPRS:
                described[f"{method} at {fpr:.0%} healthy"] = healthy_threshold(checkpoint, method, fpr)
    if facts.labelled is not None:
        described["labelled_subjects"] = facts.labelled.calibration_subjects
        described["labelled_reported"] = facts.labelled.reported_subjects
        for method in METHODS:
            described[f"{method} labelled"] = facts.labelled.thresholds[method]
    return described


def export(
    model: Annotated[
        str, typer.Argument(envvar="VAE_LOC_MODEL", autocompletion=completed_models, help="A model's name or file.")
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="ONNX file to write.")],
) -> None:
    """Write a model as ONNX for other programs.

    The ONNX file takes slices x (B, 1, H, W) and c, and gives residual, KL, Rec, and the gradients of both.
    Example: vae-loc export t1 -o t1.onnx
    """
    from vae_loc.model.checkpoint import find_model
    from vae_loc.model.graph import export as written

    written(find_model(model), output)
    say(printable(output))


def info(
    model: Annotated[
        str | None,
        typer.Argument(
            envvar="VAE_LOC_MODEL",
            autocompletion=completed_models,
            help="A model's name or file. Default: all that are shipped.",
        ),
    ] = None,
    as_json: AsJson = False,
    boilerplate: Annotated[
        Path | None,
        typer.Option(metavar="RESULTS", help="Print a paragraph for a paper's methods section on a folder of results."),
    ] = None,
) -> None:
    """Show what a model is, and from where on it has findings; without a name, list the shipped models.

    Example: vae-loc info t1
    Example: vae-loc info --boilerplate results
    """
    if boilerplate is not None:
        from vae_loc.results.groups.methods_text import methods_text

        say(methods_text(boilerplate).rstrip("\n"))
        return
    from vae_loc.cli.tables.model_tables import model_list, model_tables
    from vae_loc.model.checkpoint import find_model, load_checkpoint, shipped_models

    models = {name: load_checkpoint(find_model(name)) for name in (shipped_models() if model is None else [model])}
    if as_json:
        facts = {name: describe(of) for name, of in models.items()}
        say(json.dumps(facts if model is None else facts[model], indent=1))
    elif model is None:
        show(model_list(models))
    else:
        show(*model_tables(find_model(model), models[model]))
