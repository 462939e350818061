"""Packed bytes depend on the content alone, not on what lay in the memory of the process before."""

import os
import subprocess
import sys

PACK = """
import hashlib
import numpy as np
from isal import igzip, isal_zlib
from vae_loc.results.montage import png

rng = np.random.default_rng(0)
for side in (20, 60, 90):
    content = np.where(rng.random((side,) * 3) > 0.5, rng.standard_normal((side,) * 3), 0).astype(np.float32).tobytes()
    pixels = rng.integers(0, 4, (3 * side, side, 3), dtype=np.uint8)
    for packed in (isal_zlib.compress(content, 2, 31), igzip.compress(content, 3, mtime=0), png(pixels)):
        print(hashlib.sha256(packed).hexdigest())
"""


def test_what_lay_in_memory_changes_no_byte():
    """glibc fills every piece of memory that it gives or takes back with this byte."""
    found = {
        subprocess.run([sys.executable, "-c", PACK], env=os.environ | {"MALLOC_PERTURB_": fill}, capture_output=True,
                       text=True, check=True).stdout
        for fill in ("85", "170")
    }  # fmt: skip
    assert len(found) == 1
