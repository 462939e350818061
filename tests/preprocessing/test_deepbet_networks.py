"""What the networks call brain comes back where it was, and is that of deepbet itself."""

import numpy as np
import pytest
from support.phantoms import dice
from support.places import SAMPLES

from vae_loc.preprocessing import deepbet_networks
from vae_loc.preprocessing.brain_mask import find_brain
from vae_loc.preprocessing.deepbet_networks import NoBrain, extract_brain
from vae_loc.preprocessing.resampling import doubled_mask
from vae_loc.scans.volume import read_mask, read_volume


def networks(monkeypatch, box, brain):
    """Put two functions of halved volumes (N, N, N) in the place of the networks."""
    monkeypatch.setattr(deepbet_networks, "_found", lambda name, halved: {"box": box, "brain": brain}[name](halved))


def brightness(volume):
    """Halved volume (N, N, N) -> bool (2 N, 2 N, 2 N), whether it is brighter than the middle of the range."""
    return doubled_mask(volume > (volume.min() + volume.max()) / 2)


@pytest.mark.parametrize("shape", [(60, 80, 50), (128, 128, 128), (150, 256, 300)])
def test_what_the_networks_call_bright_comes_back_where_it_was(monkeypatch, shape):
    networks(monkeypatch, brightness, brightness)
    data = np.zeros(shape, dtype=np.float32)
    data[tuple(slice(round(0.2 * n), round(0.7 * n)) for n in shape)] = 100
    assert dice(extract_brain(data), data > 0) > 0.98


def test_where_nothing_is_a_brain_there_is_none(monkeypatch):
    networks(monkeypatch, lambda volume: np.zeros_like(brightness(volume)), brightness)
    with pytest.raises(NoBrain):
        extract_brain(np.ones((40, 40, 40), dtype=np.float32))


def test_specks_do_not_widen_the_box(monkeypatch):
    networks(monkeypatch, brightness, brightness)
    boxes = []
    halved = deepbet_networks._halved

    def noted(data, box, *how):
        boxes.append(box)
        return halved(data, box, *how)

    monkeypatch.setattr(deepbet_networks, "_halved", noted)
    data = np.zeros((128, 128, 128), dtype=np.float32)
    data[40:80, 40:80, 40:80] = 100
    data[120:124, 120:124, 120:124] = 100
    extract_brain(data)
    assert boxes[1] == (slice(36, 84),) * 3


def test_slabs_of_another_size_find_the_same_brain(monkeypatch):
    data = read_volume(SAMPLES / "IXI012_t1.nii.gz").data
    halved = deepbet_networks._halved(data, tuple(slice(0, n) for n in data.shape), 128, (0.0, float(data.max())))
    found = deepbet_networks._found("box", halved)
    monkeypatch.setattr(deepbet_networks, "SLAB", 32)
    assert 0 < np.count_nonzero(found) < found.size / 2
    assert dice(found, deepbet_networks._found("box", halved)) > 0.9998  # sums in another order


def test_the_networks_agree_with_deepbet_s_own_mask():
    volume = read_volume(SAMPLES / "IXI012_t1.nii.gz")
    own = read_mask(SAMPLES / "IXI012_brainmask.nii.gz", volume)  # by deepbet 1.0.2
    assert dice(find_brain(volume, "auto")[0], own) > 0.995
