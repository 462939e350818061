"""Experiments run quickly, and a sweep whose runs take no time."""

from __future__ import annotations

import numpy as np
from support.commands import invoke

from vae_loc.system.progress import Bars

QUIET = Bars(True)
SETTINGS = [{"letter": letter} for letter in "abc"]


def run_quickly(experiment, *arguments):
    """Run an experiment of the paper as a smoke test."""
    return invoke("reproduce", experiment, *arguments, "--quick", "--quiet")


def toy(key):
    """A result that depends on the key alone."""
    return {"score": len(key["letter"]) + 0.1 * int(key["seed"]), "undefined": np.nan}
