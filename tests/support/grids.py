"""Grids that scans have: turned, mirrored, oblique, anisotropic."""

from __future__ import annotations

import itertools

import numpy as np
from support.marks import full

COS, SIN = np.cos(0.3), np.sin(0.3)
OBLIQUE = np.array([[COS, -SIN, 0], [SIN, COS, 0], [0, 0, 1]]) @ np.diag([3, 3, 4])
GRIDS = {  # matrix of the affine, shape
    "RAS": (np.diag([3, 3, 3]), (52, 60, 48)),
    "LPS": (np.diag([-3, -3, 3]), (52, 60, 48)),
    "PSR": (np.array([[0, 0, 3], [-3, 0, 0], [0, 3, 0]]), (60, 48, 52)),
    "oblique": (OBLIQUE, (62, 70, 36)),
    "left-handed": (np.diag([-3, 3, 3]), (52, 60, 48)),
    "permuted": (np.array([[0, 3, 0], [0, 0, -3], [3, 0, 0]]), (48, 52, 60)),
    "anisotropic": (np.diag([2, 1.9, 5]), (77, 93, 31)),
    "odd-sizes": (np.diag([3.1, 2.9, 3.3]), (51, 61, 43)),
}
ORIENTATIONS = [
    np.column_stack([axes, signs])
    for axes in itertools.permutations(range(3))
    for signs in itertools.product((1, -1), repeat=3)
]
THREE = [ORIENTATIONS[number] for number in (13, 20, 45)]  # each axis is in each place, and is turned in one
SOME_OR_ALL = {"argvalues": [THREE, full(ORIENTATIONS)], "ids": ["3", "48"]}  # of a test of `orientations`
FIELDS = ("sform_code", "qform_code", "xyzt_units", "srow_x", "srow_y", "srow_z", "quatern_b", "quatern_c", "quatern_d",
          "qoffset_x", "qoffset_y", "qoffset_z", "pixdim")  # fmt: skip


def geometry(header):
    """All that a NIfTI header says of where its voxels lie."""
    return {name: header[name].tolist() for name in FIELDS}
