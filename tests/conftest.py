"""Synthetic heads small enough for every test to run in seconds."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from vae_loc.scans.volume import read_volume

RADII_MM = (65.0, 80.0, 60.0)  # a brain of about 1300 ml


@pytest.fixture(autouse=True)
def _one_thread():
    import torch

    torch.set_num_threads(1)


def phantom(affine, shape, *, ball=None, radius_mm=12.0, gain=1.5, seed=0):
    """A skull-stripped brain-like ellipsoid in world space around 0, with an optional ball."""
    grid = np.stack(np.meshgrid(*[np.arange(n) for n in shape], indexing="ij"), -1)
    world = grid @ affine[:3, :3].T + affine[:3, 3]
    x, y, z = np.moveaxis(world, -1, 0)
    inside = (x / RADII_MM[0]) ** 2 + (y / RADII_MM[1]) ** 2 + (z / RADII_MM[2]) ** 2 < 1
    # smooth, asymmetric structure, so that a mirrored or turned brain is another one
    data = 100 + 15 * np.sin(x / 17 + seed) + 15 * np.cos(y / 23 + 0.3 * x / 31) + 10 * np.sin(z / 19 + 1)
    if ball is not None:
        data = np.where(np.linalg.norm(world - ball, axis=-1) < radius_mm, data * gain, data)
    return np.where(inside, data, 0).astype(np.float32), inside


def centred(matrix, shape):
    """Affine of `matrix` that puts the middle of the array at 0 mm."""
    affine = np.eye(4)
    affine[:3, :3] = matrix
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return affine


def save(path: Path, data, affine, *, sform=1, qform=1, header=None):
    image = nib.Nifti1Image(data, affine, header)
    image.set_sform(affine, sform)
    image.set_qform(affine, qform, strip_shears=True)
    if not sform and not qform:
        image.header["sform_code"], image.header["qform_code"] = 0, 0
    image.header.set_xyzt_units("mm")
    nib.save(image, path)
    return path


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
def model_file(healthy_folder, tmp_path_factory):
    """A model trained for eight epochs on the phantoms, through the command line."""
    from typer.testing import CliRunner

    from vae_loc.cli.app import app

    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    options = ["--epochs", "8", "--latents", "8", "--threads", "1", "--quiet", "--image-size", "64"]
    result = CliRunner().invoke(app, ["train", str(healthy_folder), "-o", str(path), *options])
    assert result.exit_code == 0, result.output
    return path


@pytest.fixture(scope="session")
def small_model(healthy_folder, tmp_path_factory):
    """The smallest model that is whole: slices of 32 pixels, one epoch."""
    from typer.testing import CliRunner

    from vae_loc.cli.app import app

    path = tmp_path_factory.mktemp("small") / "small.safetensors"
    options = ["--epochs", "1", "--latents", "4", "--threads", "1", "--quiet", "--image-size", "32"]
    result = CliRunner().invoke(app, ["train", str(healthy_folder), "-o", str(path), *options])
    assert result.exit_code == 0, result.output
    return path


@pytest.fixture(scope="session")
def trained(model_file):
    """(checkpoint, network) of `model_file`."""
    from vae_loc.model.checkpoint import load_checkpoint
    from vae_loc.model.network import build_model

    checkpoint = load_checkpoint(model_file)
    return checkpoint, build_model(checkpoint)


@pytest.fixture
def scan(tmp_path):
    """One phantom scan of 4 mm on disk."""
    shape = (40, 46, 36)
    affine = centred(np.diag([4.0, 4.0, 4.0]), shape)
    return save(tmp_path / "pat_t1.nii.gz", phantom(affine, shape)[0], affine)


@pytest.fixture
def scan_volume(scan):
    return read_volume(scan)
