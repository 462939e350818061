"""The versions of Python and of the packages that shape a result."""

from __future__ import annotations

import functools
import platform
from importlib.metadata import PackageNotFoundError, version

REPORTED_PACKAGES = ("torch", "onnxruntime", "numpy", "nibabel", "scipy", "SimpleITK")
UNKNOWN = "0+unknown"  # version of a checkout that was never installed


def own_version() -> str:
    """Return the version of vae-loc."""
    return installed_version("vae-loc") or UNKNOWN


@functools.cache  # 0.03 s
def versions() -> dict[str, str]:
    """Return the versions of Python, of vae-loc, and of the reported packages that are installed."""
    known = {"python": platform.python_version(), "vae-loc": own_version()}
    found = {name: installed_version(name) for name in REPORTED_PACKAGES}  # scoring needs no torch
    return known | {name: number for name, number in found.items() if number is not None}


def installed_version(package: str) -> str | None:
    """Return the version of a package, or None if it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None
