"""A cohort that a test may change."""

import shutil
from collections import Counter

import pytest

from vae_loc.scans.nifti import read_image


@pytest.fixture
def cohort(healthy_folder, tmp_path):
    """Three of the healthy phantoms."""
    folder = tmp_path / "healthy"
    folder.mkdir()
    for scan in sorted(healthy_folder.iterdir())[:3]:
        shutil.copy(scan, folder)
    return folder


@pytest.fixture
def voxel_reads(monkeypatch):
    """How often the voxels of each file were read: a counter that grows as they are."""
    counts = Counter()

    def counted(path, *arguments, **options):
        counts[path] += 1
        return read_image(path, *arguments, **options)

    monkeypatch.setattr("vae_loc.scans.volume.read_image", counted)
    return counts
