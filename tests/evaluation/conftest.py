"""An evaluation that several tests look at."""

from __future__ import annotations

import pytest
from support.commands import invoke

from vae_loc.model.network import load_model


@pytest.fixture(scope="session")
def model_file(healthy_folder, tmp_path_factory):
    """A model of 160 steps on the phantoms, four times as many as elsewhere.

    After 40 steps the Rec of a slice hangs on how sums are rounded, and so does what is told of slices.
    """
    path = tmp_path_factory.mktemp("learned") / "tiny.safetensors"
    options = [
        "--epochs",
        "8",
        "--batch-size",
        "16",
        "--latents",
        "8",
        "--threads",
        "1",
        "--quiet",
        "--image-size",
        "64",
    ]
    invoke("train", healthy_folder, "-o", path, *options)
    return path


@pytest.fixture(scope="session")
def trained(model_file):
    """`model_file`, ready to score."""
    return load_model(model_file)


@pytest.fixture(scope="session")
def evaluated(patients, model_file, healthy_folder, tmp_path_factory):
    """The folder of an evaluation of the patients, and what the command said."""
    folder = tmp_path_factory.mktemp("evaluated")
    options = ["--labels", "{subject}_seg.nii.gz", "-m", model_file, "--healthy", healthy_folder]
    return folder, invoke("evaluate", patients, *options, "-o", folder)
