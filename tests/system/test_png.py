"""Pictures are PNGs that any reader takes, and not larger than needed."""

import io

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from vae_loc.system.png import png


def read_back(content):
    """Return the pixels that Pillow reads, after it checked every chunk's checksum."""
    Image.open(io.BytesIO(content)).verify()
    with Image.open(io.BytesIO(content)) as picture:
        assert (picture.format, picture.mode) == ("PNG", "RGB")
        return np.asarray(picture)


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**32 - 1), st.booleans())
def test_pillow_reads_the_pixels_that_were_written(rows, columns, seed, turned):
    pixels = np.random.default_rng(seed).integers(0, 256, (rows, columns, 3), dtype=np.uint8)
    if turned:  # rows of another order in memory
        pixels = pixels.transpose(1, 0, 2)[::-1]
    before = pixels.copy()
    np.testing.assert_array_equal(read_back(png(pixels)), before)
    np.testing.assert_array_equal(pixels, before)


def test_a_large_smooth_picture_is_packed_well():
    """Its lines differ little from those above them: a thirtieth of its bytes."""
    rows, columns = np.mgrid[:900, :1000]
    pixels = np.stack([rows // 4, columns // 4, (rows + columns) // 8], axis=-1).astype(np.uint8)
    content = png(pixels)
    assert len(content) < pixels.nbytes / 30
    np.testing.assert_array_equal(read_back(content), pixels)
