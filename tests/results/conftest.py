"""Outputs that several tests look at."""

from __future__ import annotations

import pytest
from support.commands import invoke


@pytest.fixture(scope="session")
def derivatives(bids_dataset, small_model):
    """The derivatives of a whole BIDS dataset, by participant and then by group."""
    place = bids_dataset / "derivatives" / "vae-loc"
    for level, options in (("participant", ["--report", "--template-space"]), ("group", [])):
        invoke("bids", bids_dataset, place, level, "--contrast", "all", "-m", small_model, *options)
    return place
