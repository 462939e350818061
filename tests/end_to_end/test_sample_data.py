"""The shipped models on the scans that come with them."""

import os

import pytest
from support.commands import invoke
from support.places import SAMPLES


@pytest.mark.skipif(os.environ.get("SKIP_SHIPPED") == "1", reason="asked to")
@pytest.mark.parametrize("scan_name", ["IXI012_t1", "patient07_t1", "synthetic-mass_t1"])
def test_the_shipped_model_segments_the_sample_data(tmp_path, scan_name):
    invoke("segment", SAMPLES / f"{scan_name}.nii.gz", "-o", tmp_path)
    assert (tmp_path / f"{scan_name}_desc-combi_mask.nii.gz").exists()
