"""The networks that find a brain in a head: what lies around them."""

import numpy as np
import pytest
from support.places import SAMPLES

from vae_loc.preprocessing import head_extraction
from vae_loc.preprocessing.brain_mask import find_brain
from vae_loc.preprocessing.head_extraction import NoBrain, extract_brain
from vae_loc.scans.volume import read_mask, read_volume


def networks(monkeypatch, box, brain):
    """Put two functions of blocks (8, N, N, N) in the place of the networks."""
    monkeypatch.setattr(head_extraction, "_network", {"box": box, "brain": brain}.__getitem__)


def brightness(blocks):
    """Blocks (8, N, N, N) -> volume (2 N, 2 N, 2 N), above 0 where it is brighter than the middle of the range."""
    n = blocks.shape[-1]
    above = (blocks - (blocks.min() + blocks.max()) / 2).reshape(2, 2, 2, n, n, n)
    return above.transpose(3, 0, 4, 1, 5, 2).reshape(2 * n, 2 * n, 2 * n)


def dice(a, b):
    return 2 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b))


@pytest.mark.parametrize("shape", [(60, 80, 50), (128, 128, 128), (150, 256, 300)])
def test_what_the_networks_call_bright_comes_back_where_it_was(monkeypatch, shape):
    networks(monkeypatch, brightness, brightness)
    data = np.zeros(shape, dtype=np.float32)
    data[tuple(slice(round(0.2 * n), round(0.7 * n)) for n in shape)] = 100
    assert dice(extract_brain(data), data > 0) > 0.98


def test_where_nothing_is_a_brain_there_is_none(monkeypatch):
    networks(monkeypatch, lambda blocks: np.full_like(brightness(blocks), -1), brightness)
    with pytest.raises(NoBrain):
        extract_brain(np.ones((40, 40, 40), dtype=np.float32))


def test_specks_do_not_widen_the_box(monkeypatch):
    networks(monkeypatch, brightness, brightness)
    boxes = []
    blocks = head_extraction._blocks

    def noted(data, box, side):
        boxes.append(box)
        return blocks(data, box, side)

    monkeypatch.setattr(head_extraction, "_blocks", noted)
    data = np.zeros((128, 128, 128), dtype=np.float32)
    data[40:80, 40:80, 40:80] = 100
    data[120:124, 120:124, 120:124] = 100
    extract_brain(data)
    assert boxes[1] == (slice(36, 84),) * 3


def test_the_networks_agree_with_deepbet_s_own_mask():
    volume = read_volume(SAMPLES / "IXI012_t1.nii.gz")
    own = read_mask(SAMPLES / "IXI012_brainmask.nii.gz", volume)  # by deepbet 1.0.2
    assert dice(find_brain(volume, "auto")[0], own) > 0.995
