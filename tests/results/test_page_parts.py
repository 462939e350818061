"""A scan in a page lies where the scan lies."""

import base64
import gzip

import nibabel as nib
import numpy as np
from support.phantoms import centred, save

from vae_loc.results.page_parts import MAX_VOXELS, crop_to, layer
from vae_loc.scans.volume import read_volume


def test_a_scan_of_fine_voxels_is_joined_to_blocks_in_its_place(tmp_path):
    shape = (330, 330, 330)
    affine = centred(np.diag([-0.5, 0.5, 0.55]), shape)
    data = np.zeros(shape, dtype=np.float32)
    data[100:104, 200:204, 250:254] = 7
    data[0, 0, 0] = 1
    volume = read_volume(save(tmp_path / "fine.nii", data, affine))
    crop = crop_to(np.ones(shape, dtype=bool), volume)
    image = nib.Nifti1Image.from_bytes(gzip.decompress(base64.b64decode(layer(data, crop, low=0, high=7))))
    assert np.prod(image.shape) <= MAX_VOXELS
    centre_mm = (image.affine @ np.append(np.argwhere(image.get_fdata() > 3).mean(axis=0), 1))[:3]
    assert np.allclose(centre_mm, (affine @ [101.5, 201.5, 251.5, 1])[:3], atol=0.6)
