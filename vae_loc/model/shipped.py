"""Models by name: from an installed wheel, from a checkout, from a path."""

from __future__ import annotations

import os
from pathlib import Path

from vae_loc.errors import UnusableModel

PACKAGE = Path(__file__).parents[1]
PLACES = (PACKAGE / "models", PACKAGE.parent / "models")  # wheel, checkout


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
    files = {path.name for place in PLACES for path in place.glob("*.safetensors")}
    return sorted(name.removesuffix(".safetensors") for name in files if not name.endswith(".state.safetensors"))
