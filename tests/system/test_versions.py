"""The versions that every result states."""

import platform
from importlib.metadata import PackageNotFoundError

import numpy as np
import pytest

from vae_loc.system import versions as module
from vae_loc.system.versions import UNKNOWN, own_version, versions


def test_python_and_the_packages_that_are_installed_are_stated():
    assert versions()["python"] == platform.python_version()
    assert versions()["numpy"] == np.__version__


@pytest.fixture
def bare_checkout(monkeypatch):
    """A checkout on PYTHONPATH that was never installed: no package has metadata."""

    def missing(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr(module, "version", missing)
    versions.cache_clear()
    yield
    versions.cache_clear()


def test_a_checkout_that_was_never_installed_states_a_version(bare_checkout):
    """Pages print it, and --skip-existing compares it."""
    assert own_version() == UNKNOWN
    assert versions() == {"python": platform.python_version(), "vae-loc": UNKNOWN}
