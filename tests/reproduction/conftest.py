"""Patients of the brain experiments."""

from __future__ import annotations

import numpy as np
import pytest
from support.phantoms import AFFINE, SHAPE, phantom, save


@pytest.fixture(scope="session")
def patient_folder(tmp_path_factory):
    """Two annotated phantoms."""
    folder = tmp_path_factory.mktemp("patients")
    for number in range(2):
        ball = np.array([20.0, 10.0 * number, 0.0])
        data, _ = phantom(AFFINE, SHAPE, ball=ball, radius_mm=25.0)
        healthy, _ = phantom(AFFINE, SHAPE)
        save(folder / f"p{number}_t1.nii.gz", data, AFFINE)
        save(folder / f"p{number}_seg.nii.gz", (data != healthy).astype(np.uint8), AFFINE)
    return folder
