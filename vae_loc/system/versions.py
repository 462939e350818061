"""The versions of Python and of the packages that shape a result."""

from __future__ import annotations

import contextlib
import platform
from importlib.metadata import PackageNotFoundError, version

REPORTED_PACKAGES = ("vae-loc", "torch", "onnxruntime", "numpy", "nibabel", "scipy", "SimpleITK", "deepbet")


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that shape a result, as far as they are installed."""
    found = {"python": platform.python_version()}
    for name in REPORTED_PACKAGES:
        with contextlib.suppress(PackageNotFoundError):  # scoring needs neither torch nor deepbet
            found[name] = version(name)
    return found
