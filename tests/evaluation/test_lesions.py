"""Lesions are found, missed or false."""

import numpy as np

from vae_loc.evaluation.lesions import find_lesions, match_lesions, size_classes


def test_lesions_are_found_missed_or_false():
    truth = np.zeros((30, 30, 30), dtype=bool)
    truth[2:6, 2:6, 2:6] = True  # 64 voxels of 8 mm^3: 0.5 ml
    truth[20:22, 20:22, 20:22] = True  # 8 voxels: 0.06 ml
    lesions = find_lesions(truth, np.ones_like(truth), 8.0)
    assert list(size_classes(lesions)) == [1, 0]
    mask = np.zeros_like(truth)
    mask[5:9, 2:6, 2:6] = True  # covers 16 of 64
    mask[10:14, 10:14, 10:14] = True  # false
    mask[28, 28, 28] = True  # too small to count
    match = match_lesions(mask, lesions, min_size_mm3=100)
    assert list(match.found) == [True, False]
    assert match.false_positives == 1
