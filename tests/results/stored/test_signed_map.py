"""The signed map comes back from disk as it was made, and lies where the scan lies."""

import nibabel as nib
import numpy as np

from vae_loc.model.network import load_model
from vae_loc.preprocessing.open_scan import open_scan
from vae_loc.results.stored.signed_map import read_signed, write_signed
from vae_loc.scans.cases import find_cases
from vae_loc.scoring.locate import locate


def test_a_signed_map_comes_back_bit_by_bit(scan, small_model, tmp_path):
    located = locate(open_scan(find_cases([scan])[0]), load_model(small_model))
    write_signed(tmp_path / "signed.nii.gz", located, "combi")
    read = read_signed(tmp_path / "signed.nii.gz")
    assert read.dtype == located.signed_maps["combi"].dtype
    assert np.array_equal(read, located.signed_maps["combi"])
    affine = nib.load(tmp_path / "signed.nii.gz").affine
    np.testing.assert_allclose(affine, located.frame("combi").grid.affine, atol=1e-4)
