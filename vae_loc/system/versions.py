"""The versions of Python and of the packages that shape a result."""

from __future__ import annotations

import contextlib
import platform
from importlib.metadata import PackageNotFoundError, version

REPORTED_PACKAGES = ("vae-loc", "torch", "onnxruntime", "numpy", "nibabel", "scipy", "SimpleITK")
UNKNOWN = "0+unknown"  # of a checkout that was never installed


def own_version() -> str:
    """Return the version of vae-loc."""
    return installed_version("vae-loc") or UNKNOWN


def versions() -> dict[str, str]:
    """Return the versions of Python and of the reported packages, as far as they are installed."""
    known = {"python": platform.python_version()}
    for name in REPORTED_PACKAGES:
        with contextlib.suppress(PackageNotFoundError):  # scoring needs no torch
            known[name] = version(name)
    return known


def installed_version(package: str) -> str | None:
    """Return the version of a package, or None if it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None
