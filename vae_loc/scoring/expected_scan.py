"""The network's reconstruction of a brain in the scan's own units, for people who want to see it."""

from __future__ import annotations

import numpy as np

from vae_loc.preprocessing.canonical import all_from_canonical
from vae_loc.scoring.locate import Located
from vae_loc.vocabulary import FloatArray

QUARTILES = (25, 50, 75)


def expected_scan(located: Located) -> FloatArray:
    """Return the reconstruction g(mu) of a brain on the scan's own grid, float32 (I, J, K), 0 outside the brain.

    It has the canonical resolution: 3 mm at 64 pixels. Its median and interquartile range are brought to those of the
    scan's brain, so that both are seen in one window.
    """
    scan, canonical = located.scan, located.canonical
    (on_grid,) = all_from_canonical([located.reconstruction], canonical, scan.volume.affine, scan.brain)
    low, middle, high = np.percentile(scan.volume.data[scan.brain], QUARTILES)
    own_low, own_middle, own_high = np.percentile(canonical.data[canonical.mask], QUARTILES)
    gain = (high - low) / ((own_high - own_low) or 1.0)
    result: FloatArray = np.where(scan.brain, middle + gain * (on_grid - own_middle), 0).astype(np.float32)
    return result
