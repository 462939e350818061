"""Models by name: from an installed wheel, from a checkout, from a path."""

from __future__ import annotations

import os
from pathlib import Path

from vae_loc.checkpoint import METHODS, Checkpoint, healthy_threshold
from vae_loc.errors import UnusableModel

PACKAGE = Path(__file__).parent
PLACES = (PACKAGE / "models", PACKAGE.parent / "models")  # wheel, checkout
SHOWN_FPRS = (0.01, 0.05, 0.10)


def find_model(name: str) -> Path:
    """Return the file of a shipped model's name (`t1`), or the path itself.

    Raises
    ------
    UnusableModel : if there is neither.
    """
    for place in PLACES:
        if "/" not in name and (place / f"{name}.safetensors").is_file():
            return place / f"{name}.safetensors"
    if os.path.exists(name):
        return Path(name)
    shipped = ", ".join(shipped_models()) or "no shipped model"
    raise UnusableModel(name, f"expected a model file or one of {shipped}, found neither")


def shipped_models() -> list[str]:
    """Return the names of the models that come with vae-loc."""
    found = {path.name for place in PLACES for path in place.glob("*.safetensors")}
    return sorted(name.removesuffix(".safetensors") for name in found if not name.endswith(".state.safetensors"))


def describe(path: Path, checkpoint: Checkpoint) -> dict[str, object]:
    """Return what a person wants to know of a model, flat, in reading order."""
    facts = checkpoint.facts
    described: dict[str, object] = {
        "file": str(path),
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
