"""The shipped models on the scans that come with them."""

import os

import nibabel as nib
import numpy as np
import pytest
from support.commands import invoke
from support.places import SAMPLES

import vae_loc


@pytest.mark.skipif(os.environ.get("SKIP_SHIPPED") == "1", reason="asked to")
@pytest.mark.parametrize("scan_name", ["IXI012_t1", "patient07_t1", "synthetic-mass_t1"])
def test_the_shipped_model_segments_the_sample_data(tmp_path, scan_name):
    invoke("segment", SAMPLES / f"{scan_name}.nii.gz", "-o", tmp_path)
    assert (tmp_path / f"{scan_name}_desc-combi_mask.nii.gz").exists()


@pytest.mark.skipif(os.environ.get("SKIP_SHIPPED") == "1", reason="asked to")
def test_the_stroke_is_the_one_finding_of_its_scan(tmp_path):
    """As the README shows it: brighter than expected, in the left parietal lobe, with most of the lesion in it."""
    found = vae_loc.segment(SAMPLES / "crtut_t2.nii.gz")
    (finding,) = found.findings
    assert (finding.sign, finding.place.side, finding.place.lobe) == ("brighter", "left", "parietal lobe")
    assert finding.healthy_as_strong == 0
    lesion = np.asarray(nib.load(SAMPLES / "crtut_lesions.nii.gz").dataobj) > 0
    assert np.count_nonzero(found.mask & lesion) > 0.5 * np.count_nonzero(lesion)


@pytest.mark.skipif(os.environ.get("SKIP_SHIPPED") == "1", reason="asked to")
@pytest.mark.parametrize("subject", ["IXI012", "IXI013", "IXI014"])
def test_a_healthy_person_of_the_samples_has_no_finding(subject):
    assert vae_loc.segment(SAMPLES / f"{subject}_t1.nii.gz").findings == ()
