"""nibabel image in memory -> `Volume`, by the checks of a file as far as they apply."""

from __future__ import annotations

import hashlib
import math
import zlib
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.spatialimages import HeaderDataError, SpatialImage

from vae_loc.errors import UnusableInput
from vae_loc.scans.nifti import MAX_VOXELS, Header
from vae_loc.scans.volume import Volume, checked_header, volume_of

NAMELESS = Path("image.nii.gz")  # what an image without a file is called in messages and outputs


def name_of(image: SpatialImage) -> Path:
    """Return the file that an image was loaded from or is to be saved as, else `NAMELESS`."""
    return Path(image.get_filename() or NAMELESS)


@np.errstate(all="ignore")  # what is not finite is refused by name
def image_volume(image: SpatialImage) -> Volume:
    """Return a nibabel image as it is in memory now, checked as `read_volume` checks a file.

    Parameters
    ----------
    image : 3D, or 4D with one volume; of NIfTI, or of a format that nibabel turns into NIfTI, such as MGH

    Raises
    ------
    UnusableInput : if it is no image of one 3D volume of real numbers that can hold a brain.

    Does not prove the file of an image whole: give the path for that. The image is not changed.
    """
    path = name_of(image)
    # the header that the image would be saved with: its forms agree with its affine
    try:
        if not isinstance(image, nib.Nifti1Pair):
            image = nib.Nifti1Image.from_image(image)
        kind = nib.Nifti2Header if isinstance(image.header, nib.Nifti2Header) else nib.Nifti1Header
        whole = type(image)(image.dataobj, image.affine, image.header)
        header: Header = kind.from_header(whole.header, check=False)
    except (HeaderDataError, ValueError, TypeError) as error:
        raise UnusableInput(path, f"expected an image that can be NIfTI, nibabel refuses it: {error}") from error
    if math.prod(image.shape) > MAX_VOXELS:
        raise UnusableInput(path, f"expected at most {MAX_VOXELS:.0e} voxels, got shape {image.shape}")
    checked_header(path, header, None)
    # the voxels; those of a file are read now
    try:
        voxels = np.asanyarray(image.dataobj)
    except (OSError, EOFError, ValueError, zlib.error, nib.filebasedimages.ImageFileError) as error:
        raise UnusableInput(path, f"expected voxels that nibabel can read, it failed: {error}") from error
    if voxels.dtype.kind not in "iuf":
        raise UnusableInput(path, f"expected integer or float voxels, found {voxels.dtype}; convert the image")
    return volume_of(path, header, voxels.reshape(image.shape[:3]))


def digest_of(volume: Volume) -> str:
    """Return the SHA-256 of what was scored: the header and the float32 voxels."""
    digest = hashlib.sha256(volume.header.binaryblock)
    digest.update(np.asfortranarray(volume.data).ravel(order="K").data)
    return digest.hexdigest()
