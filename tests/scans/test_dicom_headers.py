"""What a series is, by its description."""

import pytest

from vae_loc.scans.dicom_headers import contrast_of_description


@pytest.mark.parametrize(
    ("text", "contrast"),
    [("T1w_MPR", "t1"), ("sag t1_mprage +C", "t1"), ("AX FSPGR BRAVO", "t1"), ("3D T1 TFE", "t1"), ("T1 FLAIR", "t1"),
     ("t2_spc_da-fl_dark-fluid", "flair"), ("Sag CUBE FLAIR", "flair"), ("t2_tirm_tra_dark-fluid", "flair"),
     ("AX T2 FSE", "t2"), ("t2_tse_tra", "t2"), ("t2*_gre", None), ("T2_star_w", None), ("T1rho map", None),
     ("DTI 64 dir", None), ("", None), ("pd_tse", None)],
)  # fmt: skip
def test_a_description_names_the_contrast(text, contrast):
    assert contrast_of_description(text) == contrast
