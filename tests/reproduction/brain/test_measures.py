"""What a perfect map and a useless one achieve."""

import numpy as np
import pytest

from reproduction import authors
from reproduction.brain.data import Patient
from reproduction.brain.measures import measure_cohort
from vae_loc.preprocessing.slices import SliceStack


def test_a_perfect_map_and_a_useless_one():
    rng = np.random.default_rng(0)
    patients, maps, fields = [], [], []
    for number in range(5):
        mask = np.zeros((4, 16, 16), bool)
        mask[:, 2:14, 2:14] = True
        truth = np.zeros_like(mask)
        truth[:2, 4:8, 4:8] = True
        stack = SliceStack(np.where(mask, 0.0, -4.0).astype(np.float32), mask, np.zeros(4), np.arange(4))
        diseased = np.array([True, True, False, False])
        patients.append(Patient(f"p{number}", stack, truth, diseased, ~diseased))
        useless = rng.permuted(np.arange(mask.size, dtype=np.float32)).reshape(mask.shape)
        perfect = truth + 0.5 * mask.astype(np.float32)
        maps.append(
            {name: useless for name in ("kl-grad", "rec-grad", "elbo-grad", "combi", "intensity")}
            | {"rec-error": perfect}
        )
        zero = np.zeros_like(perfect)
        fields.append(authors.SliceFields(zero, zero, zero, zero, diseased * 1.0, np.ones(4)))
    found = measure_cohort(patients, maps, fields)
    assert found["rec-error auroc"] == found["rec-error dice"] == found["kl sample auroc"] == 1
    assert found["rec sample auroc"] == 0.5
    assert found["combi auroc"] == pytest.approx(0.5, abs=0.1)
    assert found["combi dice"] <= found["combi dice oracle"] + 0.05
