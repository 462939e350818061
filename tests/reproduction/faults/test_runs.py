"""Faults: quickly to their table."""

import pytest
from support.sweeps import run_quickly


@pytest.mark.full
def test_faults_quickly(tmp_path, healthy_folder, patient_folder):
    scans = ["--healthy", healthy_folder, "--patients", patient_folder, "--labels", "{subject}_seg.nii.gz"]
    run_quickly("faults", "-o", tmp_path, *scans, "--contrast", "t1")
    assert len((tmp_path / "runs.csv").read_text().splitlines()) == 8
