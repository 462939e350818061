"""A synthesized contrast has its tissues in order."""

import numpy as np
import pytest

from vae_loc.preprocessing.canonical import smooth_brain, to_canonical
from vae_loc.preprocessing.pseudo_contrast import appearance


@pytest.mark.parametrize(("contrast", "order"), [("t1", "fgw"), ("t2", "wgf"), ("flair", "fwg")])
def test_a_synthesized_contrast_has_its_tissues_in_order(scan_volume, contrast, order):
    """A phantom of three tissues: fluid, grey and white matter."""
    brain = scan_volume.data > 0
    canonical = to_canonical(smooth_brain(scan_volume, brain))
    thirds = np.digitize(np.arange(64), (22, 42))[:, None, None] * np.ones(canonical.mask.shape)
    tissue = np.choose(thirds.astype(int), (-3.0, -0.5, 1.0)).astype(np.float32)
    canonical.data[:] = np.where(canonical.mask, tissue, canonical.data)
    for seed in range(3):
        look = appearance(canonical, contrast, np.random.default_rng(seed))
        means = {name: look.data[canonical.mask & (thirds == index)].mean() for index, name in enumerate("fgw")}
        assert sorted("fgw", key=means.get) == list(order)
        again = appearance(canonical, contrast, np.random.default_rng(seed))
        assert np.array_equal(look.data, again.data)
