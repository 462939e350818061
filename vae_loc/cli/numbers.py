"""Numbers given by options."""

from __future__ import annotations

import math
import re

from vae_loc.errors import UnusableOption

MIN_SHARE, MAX_SHARE = 0.0001, 0.5  # of healthy voxels beyond a threshold


def finite(name: str, value: float | None) -> float | None:
    """Return the value of an option, which must be no NaN or infinity: those pass every range.

    Raises
    ------
    UnusableOption : naming the option.
    """
    if value is not None and not math.isfinite(value):
        raise UnusableOption(f"--{name.replace('_', '-')}", f"expected a finite number, got {value:g}")
    return value


def parsed_share(text: str | None) -> float | None:
    """Return `--fpr` as a share of 1; a bare number of 1 or more is no share, and may be meant as percent.

    >>> parsed_share("0.05"), parsed_share("5%"), parsed_share(None)
    (0.05, 0.05, None)
    """
    if text is None:
        return None
    match = re.fullmatch(r"(\d*\.?\d+(?:e-?\d+)?)\s*(%?)", text.strip(), re.IGNORECASE)
    share = float("nan") if match is None else float(match[1]) / (100 if match[2] else 1)
    if MIN_SHARE <= share <= MAX_SHARE:
        return share
    meant = f"; {text}% is {text} percent of healthy voxels" if 1 <= share <= 100 * MAX_SHARE else ""
    expected = f"expected a share from {MIN_SHARE:g} to {MAX_SHARE:g}, or a percentage such as 5%"
    raise UnusableOption("--fpr", f"{expected}, got {text}{meant}")
