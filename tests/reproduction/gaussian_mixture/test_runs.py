"""The mixture's density is known, and its experiment runs."""

import numpy as np
import pytest
from support.commands import names
from support.sweeps import run_quickly

from reproduction.gaussian_mixture.runs import NODES, REACH, grid, log_density


def test_the_mixtures_density_is_one_and_its_gradient_right():
    points = grid()
    logs, gradient = log_density(points)
    pixel = (2 * REACH / (NODES - 1)) ** 2
    assert np.exp(logs).sum() * pixel == pytest.approx(1, abs=0.01)
    step = np.array([1e-5, 0])
    slope = (log_density(points + step)[0] - log_density(points - step)[0]) / 2e-5
    np.testing.assert_allclose(gradient[:, 0], slope, atol=1e-4)


@pytest.mark.full
def test_gaussian_mixture_quickly(tmp_path):
    run_quickly("gaussian-mixture", "-o", tmp_path)
    assert names(tmp_path) >= {"runs.csv", "table.csv", "figure.png", "figure.svg", "README.md"}
