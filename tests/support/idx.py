"""IDX files, in which MNIST and its relatives are published."""

from __future__ import annotations

import gzip

import numpy as np


def idx(array, code=8):
    """A gzipped IDX file's bytes."""
    sizes = np.array(array.shape, ">u4").tobytes()
    return gzip.compress(bytes((0, 0, code, array.ndim)) + sizes + array.tobytes(), 1, mtime=0)
