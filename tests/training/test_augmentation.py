"""Slices as other scanners might show them."""

import torch

from vae_loc.training.augmentation import add_coarse_noise, augment


def test_coarse_noise_stays_in_the_brain_and_is_as_strong_as_asked_for():
    x = torch.full((16, 1, 64, 64), -4.0)
    x[:, :, 16:48, 16:48] = 0
    y = add_coarse_noise(x, 1.5, torch.Generator().manual_seed(0))
    assert torch.equal(y[x == -4], x[x == -4])
    assert 0.3 < (y - x)[x == 0].std() < 1.5
    neighbours = (y[:, :, 17:48, 16:48] - y[:, :, 16:47, 16:48]).abs().mean()
    assert neighbours < 0.5 * (y - x)[x == 0].abs().mean()


def test_augmentation_differs_between_slices_and_keeps_the_background():
    x = torch.full((8, 1, 64, 64), -4.0)
    x[:, :, 20:44, 16:40] = torch.linspace(-1, 1, 24)
    y = augment(x, torch.Generator().manual_seed(0))
    assert torch.equal(y, augment(x, torch.Generator().manual_seed(0)))
    assert all(not torch.equal(y[0], other) for other in y[1:])
    assert (y[:, :, 0] == -4).all()
    inside = y[y > -4]
    assert inside.min() > -2.5  # shading, gain, offset and noise; no background
    assert inside.max() < 3.5


def test_brains_are_mirrored_from_left_to_right_alone():
    """Rows H run to the right, columns W to the front: half of the slices change sides, hardly one turns round."""
    x = torch.full((64, 1, 64, 64), -4.0)
    x[:, :, 16:48, 16:48] = 0
    x[:, :, 16:32, 16:32] = 3
    y = augment(x, torch.Generator().manual_seed(0)).clamp(-1, 3)
    sides = y[:, 0, :32].mean((1, 2)) > y[:, 0, 32:].mean((1, 2))
    ends = y[:, 0, :, :32].mean((1, 2)) > y[:, 0, :, 32:].mean((1, 2))
    assert 16 < sides.sum() < 48
    assert ends.sum() > 56
