"""The signed map of a scan on disk, on the grid where it was made: what findings are taken from.

The map on the scan's own grid is interpolated and has no sign, so that findings of another level would differ from
those of `segment`. Of the signed map they are the same.
"""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np

from vae_loc.scans.nifti import read_image
from vae_loc.scans.volume import Volume, write_volume
from vae_loc.scoring.locate import Located
from vae_loc.vocabulary import FloatArray, Method


def write_signed(path: Path, located: Located, method: Method) -> None:
    """Write a signed map as float32 on its own grid, whole or not at all.

    The affine of the file is in single precision, as NIfTI-1 has it; the scores JSON holds it exactly.
    """
    signed, affine = located.signed_maps[method], located.frame(method).grid.affine
    header = nib.Nifti1Image(signed, affine).header
    header.set_sform(affine, code="scanner")
    header.set_xyzt_units("mm")
    write_volume(path, signed, Volume(signed, affine, header, path))


def read_signed(path: Path) -> FloatArray:
    """Return a signed map, float32 on its own grid, as it was written.

    Raises
    ------
    UnusableInput : if the file is missing or damaged.
    """
    return np.ascontiguousarray(read_image(path, lambda _: 0, may_be_sparse=True).stored, dtype=np.float32)
