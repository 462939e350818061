"""For any affine, codes, shape and type: what goes in comes out on the same grid."""

import tempfile
from pathlib import Path

import nibabel as nib
import numpy as np
from corpus import raw_scan
from hypothesis import given, settings
from hypothesis import strategies as st

from vae_loc.scans.volume import read_volume, write_volume

ANGLES = st.floats(-3.2, 3.2)
FIELDS = ("sform_code", "qform_code", "xyzt_units", "srow_x", "srow_y", "srow_z", "quatern_b", "quatern_c", "quatern_d",
          "qoffset_x", "qoffset_y", "qoffset_z", "pixdim")  # fmt: skip
DTYPES = ("u1", "i1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8")


@st.composite
def grids(draw):
    """Shapes and affines that can hold a brain: turned, mirrored, anisotropic, sheared."""
    shape = draw(st.tuples(*[st.integers(5, 12)] * 3))
    spacing = np.array(draw(st.tuples(*[st.floats(10, 19)] * 3)))
    turn = np.eye(3)
    for axis, angle in enumerate(draw(st.tuples(ANGLES, ANGLES, ANGLES))):
        a, b = [n for n in range(3) if n != axis]
        one = np.eye(3)
        one[[a, a, b, b], [a, b, a, b]] = np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle)
        turn = one @ turn
    signs = np.diag(draw(st.tuples(*[st.sampled_from([-1, 1])] * 3)))
    shear = np.eye(3) + np.triu(np.full((3, 3), draw(st.sampled_from([0.0, 0.0, 0.1]))), 1)
    affine = np.eye(4)
    affine[:3, :3] = (turn @ signs @ shear) * spacing
    affine[:3, 3] = draw(st.tuples(*[st.floats(-500, 500)] * 3))
    return shape, affine


@settings(max_examples=150, deadline=None, derandomize=True, database=None)
@given(
    grid=grids(),
    codes=st.tuples(st.integers(0, 4), st.integers(0, 4)),
    dtype=st.sampled_from(DTYPES),
    order=st.sampled_from("<>"),
    version=st.sampled_from([1, 2]),
    slope=st.sampled_from([(1, 0), (0, 0), (np.nan, np.nan), (0.5, 3), (-2, 10)]),
    out=st.sampled_from(["o.nii", "o.nii.gz"]),
)
def test_what_goes_in_comes_out_on_the_same_grid(grid, codes, dtype, order, version, slope, out):
    shape, affine = grid
    stored = np.arange(np.prod(shape)).reshape(shape) % 100 + 1
    raw = raw_scan(stored.astype(dtype), order=order, version=version, affine=affine, forms=codes, slope=slope)
    with tempfile.TemporaryDirectory() as folder:
        given_path, written = Path(folder) / "i.nii", Path(folder) / out
        given_path.write_bytes(raw)
        reference = nib.load(given_path)
        volume = read_volume(given_path)
        np.testing.assert_allclose(volume.data, reference.get_fdata(), rtol=1e-6)
        assert np.array_equal(volume.affine, reference.affine)
        write_volume(written, volume.data, volume)
        result = nib.load(written)
        assert type(result) is type(reference)
        assert result.shape == shape
        assert np.array_equal(result.affine, reference.affine)
        for field in FIELDS:
            assert np.array_equal(result.header[field], reference.header[field]), field
        assert (result.dataobj.slope, result.dataobj.inter) == (1, 0)
        assert np.array_equal(np.asarray(result.dataobj), volume.data)
        again = read_volume(written)
        assert np.array_equal(again.data, volume.data)
        assert np.array_equal(again.affine, volume.affine)
        assert given_path.read_bytes() == raw
