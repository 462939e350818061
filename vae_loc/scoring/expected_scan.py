"""What the network made of a brain, in the scan's own units, for people who want to see it (design [89])."""

from __future__ import annotations

import numpy as np

from vae_loc.model.network import Model
from vae_loc.preprocessing.canonical import all_from_canonical, to_canonical
from vae_loc.preprocessing.pose import doubled_grid
from vae_loc.preprocessing.slices import from_slices, to_slices
from vae_loc.scoring.locate import Located
from vae_loc.scoring.slice_scores import score_slices
from vae_loc.vocabulary import FloatArray

QUARTILES = (25, 50, 75)


def expected_scan(located: Located, model: Model) -> FloatArray:
    """Return the reconstruction g(mu) of a brain on the scan's own grid, float32 (I, J, K), 0 outside the brain.

    It is made anew from the scan and the place of its signed map alone, so that stored results give the same.
    It has the canonical resolution: 3 mm at 64 pixels. Its median and interquartile range are brought to those of the
    scan's brain, so that both are seen in one window.
    """
    scan, image_size = located.scan, model.facts.network.image_size
    grid = located.frame(next(iter(located.signed_maps))).grid
    if grid.shape[0] != image_size:  # the map lies on half the pixel
        grid = doubled_grid(grid)
    canonical = to_canonical(scan.volume, scan.brain, image_size=image_size, contrast=model.facts.contrast, grid=grid)
    stack = to_slices(canonical)
    residual = score_slices(model, stack, ["rec-error"]).fields["residual"]  # x - g(mu)
    expected = canonical.data - from_slices(residual, stack, canonical)
    (on_grid,) = all_from_canonical([expected], canonical, scan.volume.affine, scan.brain)
    low, middle, high = np.percentile(scan.volume.data[scan.brain], QUARTILES)
    own_low, own_middle, own_high = np.percentile(canonical.data[canonical.mask], QUARTILES)
    gain = (high - low) / ((own_high - own_low) or 1.0)
    result: FloatArray = np.where(scan.brain, middle + gain * (on_grid - own_middle), 0).astype(np.float32)
    return result
