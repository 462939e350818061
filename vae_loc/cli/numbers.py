"""Numbers that options give."""

from __future__ import annotations

import math

from vae_loc.errors import UnusableOption


def finite(name: str, value: float | None) -> float | None:
    """Return the value of an option, which must be no NaN or infinity: those pass every range.

    Raises
    ------
    UnusableOption : naming the option.
    """
    if value is not None and not math.isfinite(value):
        raise UnusableOption(f"--{name.replace('_', '-')}", f"expected a finite number, got {value:g}")
    return value
