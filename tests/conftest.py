"""Cohorts and models that many tests share."""

from __future__ import annotations

import os
import shutil
import sys

# one thread, as the command has: two threads round otherwise, and wait for each other on a busy machine
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("MKL_NUM_THREADS", "1")

import numpy as np
import pytest
from hypothesis import settings
from support.bids import write_dataset
from support.commands import invoke
from support.corpus import GOOD
from support.dicoms import write_series
from support.phantoms import AFFINE, BALL, SHAPE, centred, phantom, save
from support.places import ROOT

from vae_loc.model.network import load_model
from vae_loc.scans.volume import read_volume

sys.path.append(str(ROOT))  # of `reproduction`, which is not installed


BROWSER = "shown"  # the fixture of each test module that opens a page in Chromium


def pytest_addoption(parser):
    parser.addoption("--full", action="store_true", help="Run the exhaustive tests too, those with the mark `full`.")


def pytest_configure(config):
    """Give each test of random examples 50 of them, 300 with `--full`; the same ones in each run."""
    examples = 300 if config.getoption("--full") else 50
    settings.register_profile("ours", max_examples=examples, deadline=None, derandomize=True, database=None)
    settings.load_profile("ours")


@pytest.hookimpl(tryfirst=True)  # before `-m full` looks for the mark
def pytest_collection_modifyitems(config, items):
    for item in items:
        if BROWSER in item.fixturenames:
            item.add_marker(pytest.mark.full)
        if item.get_closest_marker("full") and not config.getoption("--full"):
            item.add_marker(pytest.mark.skip(reason="exhaustive: --full runs it"))


@pytest.fixture(autouse=True)
def _one_thread():
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def healthy_folder(tmp_path_factory):
    """Five phantom subjects of 3 mm."""
    folder = tmp_path_factory.mktemp("healthy")
    shape = (52, 60, 48)
    affine = centred(np.diag([3.0, 3.0, 3.0]), shape)
    for seed in range(5):
        save(folder / f"sub{seed}_t1.nii.gz", phantom(affine, shape, seed=0.1 * seed)[0], affine)
    return folder


@pytest.fixture(scope="session")
def patients(tmp_path_factory):
    """Six patients with a bright ball and its mask; the last one's annotation is empty."""
    folder = tmp_path_factory.mktemp("patients")
    grid = np.stack(np.meshgrid(*[np.arange(n) for n in SHAPE], indexing="ij"), -1)
    world = grid @ AFFINE[:3, :3].T + AFFINE[:3, 3]
    for i in range(6):
        centre = (-30.0 + 12 * i, 5.0, 10.0)
        truth = (np.linalg.norm(world - centre, axis=-1) < 14) & (i < 5)
        data, _ = phantom(AFFINE, SHAPE, ball=centre if i < 5 else None, radius_mm=14, gain=2.5, seed=0.1 * i)
        save(folder / f"p{i}_t1.nii.gz", data, AFFINE)
        save(folder / f"p{i}_seg.nii.gz", truth.astype(np.uint8) * (1 if i else 4), AFFINE)
    return folder


@pytest.fixture(scope="session")
def model_file(healthy_folder, tmp_path_factory):
    """A model trained for eight epochs on the phantoms, through the command line."""
    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    options = ["--epochs", "8", "--latents", "8", "--threads", "1", "--quiet", "--image-size", "64"]
    invoke("train", healthy_folder, "-o", path, *options)
    return path


@pytest.fixture(scope="session")
def small_model(healthy_folder, tmp_path_factory):
    """The smallest model that is whole: slices of 32 pixels, one epoch."""
    path = tmp_path_factory.mktemp("small") / "small.safetensors"
    options = ["--epochs", "1", "--latents", "4", "--threads", "1", "--quiet", "--image-size", "32"]
    invoke("train", healthy_folder, "-o", path, *options)
    return path


@pytest.fixture(scope="session")
def trained(model_file):
    """`model_file`, ready to score."""
    return load_model(model_file)


@pytest.fixture
def scan(tmp_path):
    """One phantom scan of 4 mm on disk."""
    return save(tmp_path / "pat_t1.nii.gz", phantom(AFFINE, SHAPE)[0], AFFINE)


@pytest.fixture
def scan_volume(scan):
    return read_volume(scan)


@pytest.fixture
def mixed_folder(healthy_folder, tmp_path):
    """Three scans, and one that is damaged, between them."""
    place = tmp_path / "in"
    place.mkdir()
    for number in range(3):
        shutil.copy(healthy_folder / f"sub{number}_t1.nii.gz", place)
    whole = (place / "sub1_t1.nii.gz").read_bytes()
    (place / "sub1a_t1.nii.gz").write_bytes(whole[: len(whole) // 2])
    return place


@pytest.fixture
def good(tmp_path):
    """A small scan whose outputs are `support.commands.MADE`."""
    (tmp_path / "scan_t1.nii").write_bytes(GOOD)
    return tmp_path / "scan_t1.nii"


@pytest.fixture(scope="session")
def bids_dataset(tmp_path_factory):
    """A BIDS dataset of four scans."""
    return write_dataset(tmp_path_factory.mktemp("bids") / "raw")


@pytest.fixture(scope="session")
def series_folder(tmp_path_factory):
    """The folder of a DICOM series of a brain with a bright ball, its affine to RAS+ mm and its voxels."""
    pytest.importorskip("highdicom")
    folder = tmp_path_factory.mktemp("pacs") / "pat_t1"
    return folder, *write_series(folder / "DICOM" / "SE000", ball=BALL)
