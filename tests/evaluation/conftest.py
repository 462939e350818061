"""An evaluation that several tests look at."""

from __future__ import annotations

import pytest
from support.commands import invoke


@pytest.fixture(scope="session")
def evaluated(patients, small_model, healthy_folder, tmp_path_factory):
    """The folder of an evaluation of the patients, and what the command said."""
    folder = tmp_path_factory.mktemp("evaluated")
    options = ["--labels", "{subject}_seg.nii.gz", "-m", small_model, "--healthy", healthy_folder]
    return folder, invoke("evaluate", patients, *options, "-o", folder)
