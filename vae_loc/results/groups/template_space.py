"""A scored scan in the space of the template `MNI`, on one grid for all people."""

from __future__ import annotations

from dataclasses import replace

import nibabel as nib
import numpy as np

from vae_loc.preprocessing.canonical import onto_grid
from vae_loc.preprocessing.pose import Affine
from vae_loc.preprocessing.resampling import Grid, interpolated
from vae_loc.scans.volume import Volume
from vae_loc.scoring.locate import Located
from vae_loc.scoring.segmentation import Numbers
from vae_loc.system.blas_threads import one_blas_thread

GRID = Grid((99, 117, 95), nib.affines.from_matvec(2 * np.eye(3), (-98, -134, -72)), 2.0)  # nilearn's, at 2 mm


@one_blas_thread()
def in_template(located: Located, ras2mni_mm: Affine) -> Located:
    """Return a scored scan on `GRID`, by the affine (4, 4) from its RAS mm to mm of the template.

    The scan is low-passed to 2 mm, and 0 outside its field of view; the maps come from the canonical grid.
    """
    scan, own, canonical = located.scan, located.volume, located.canonical
    on_scan = replace(GRID, affine=np.linalg.inv(ras2mni_mm) @ GRID.affine)
    data = onto_grid(own.data, own, np.ones(own.data.shape, dtype=bool), on_scan)
    header = nib.Nifti1Header()
    header.set_sform(GRID.affine, "mni")
    header.set_qform(GRID.affine, "mni")
    header.set_xyzt_units("mm")
    brain = numbers_in_template(scan.brain.view(np.uint8), own, ras2mni_mm) > 0
    moved = replace(canonical, grid=replace(canonical.grid, affine=ras2mni_mm @ canonical.grid.affine))
    there = replace(scan, volume=Volume(data, GRID.affine, header, own.path), brain=brain)
    return replace(located, canonical=moved, scan=there)


def numbers_in_template(numbers: Numbers, own: Volume, ras2mni_mm: Affine) -> Numbers:
    """Return a mask (I, J, K) of a scan on `GRID`: the value of the nearest voxel, 0 outside the scan."""
    voxel2own = np.linalg.inv(own.affine) @ np.linalg.inv(ras2mni_mm) @ GRID.affine
    return interpolated(numbers.astype(np.float32), voxel2own, GRID.shape, nearest=True).astype(numbers.dtype)
