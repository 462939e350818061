"""Experiments run quickly, and a sweep whose runs take no time."""

from __future__ import annotations

import numpy as np
from support.commands import invoke, run

from reproduction.__main__ import app
from vae_loc.system.progress import Bars

QUIET = Bars(True)
SETTINGS = [{"letter": letter} for letter in "abc"]


def run_quickly(experiment, *arguments):
    """Run an experiment of the paper as a smoke test."""
    return invoke(experiment, *arguments, "--quick", "--quiet", program=app)


def run_experiment(monkeypatch, capsys, *arguments):
    """Run an experiment as the shell would; return its exit code and its output."""
    return run(monkeypatch, capsys, *arguments, program=app)


def toy(key):
    """A result that depends on the key alone."""
    return {"score": len(key["letter"]) + 0.1 * int(key["seed"]), "undefined": np.nan}
