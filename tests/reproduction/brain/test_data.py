"""Prepared slices come back from their file as they were made."""

import numpy as np
from support.sweeps import QUIET

from reproduction.brain.data import _patient, find_source, load_prepared, prepared


def test_annotations_come_back_as_they_were_prepared(tmp_path, healthy_folder, patient_folder):
    source = find_source(
        [healthy_folder], [patient_folder], ["{subject}_seg.nii.gz"], contrast="t1", synthesize_from=None
    )
    found = load_prepared(prepared(source, tmp_path, 32, QUIET))
    ((_, pairs),) = source.cohorts
    for pair, patient in zip(pairs, found.cohorts[patient_folder.name], strict=True):
        made = _patient(pair, source, 32)
        np.testing.assert_array_equal(patient.truth, made["truth"])
        np.testing.assert_array_equal(patient.stack.mask, made["mask"])
