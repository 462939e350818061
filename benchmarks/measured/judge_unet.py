"""A small 3-D U-Net in the place of the judge of the learned map, for `judge.py`.

It sees whole brains of 3 mm, healthy or with one made lesion, and gives the log-odds of a lesion of each voxel.
Its loss is a cross-entropy in which a lesion of `MANY` voxels or more weighs a quarter of its brain.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, interpolate, max_pool3d, pad

from vae_loc.preprocessing.regions import Box, bounding_box
from vae_loc.vocabulary import BoolArray, FloatArray

CHANNELS = (
    *("residual.usual", "residual", "intensity.usual", "intensity", "kl", "own", "fine"),
    *("residual.8", "intensity.8", "fine.4", "residual.spread", "fine.spread"),
    *("residual.mirrored", "residual.2.mirrored", "intensity.mirrored", "fine.mirrored"),
)
WIDTHS = (8, 16, 32)
EPOCHS, PEAK_RATE, WARM_SHARE = 12, 3e-3, 0.2
BATCH = 2  # brains; torch takes a slower convolution for one alone
MIRRORED_SHARE = 0.5
LESION_SHARE, MANY = 0.25, 250


class Specimen3d(Protocol):
    """A brain: mask and lesion, bool (I, I, I), and the features of its voxels, (N, F)."""

    @property
    def features(self) -> FloatArray: ...
    @property
    def mask(self) -> BoolArray: ...
    @property
    def lesion(self) -> BoolArray: ...


class UNet(nn.Module):
    """Three levels, the first of single voxels since the features are smooth; from (1, C, I, J, K) to log-odds (1, 1, I, J, K)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        narrow, middle, wide = WIDTHS
        self.down = nn.ModuleList([_twice(channels, narrow, 1), _twice(narrow, middle, 3), _twice(middle, wide, 3)])
        self.up = nn.ModuleList([_twice(wide + middle, middle, 3), _twice(middle + narrow, narrow, 1)])
        self.last = nn.Conv3d(narrow, 1, 1)

    def forward(self, seen: Tensor) -> Tensor:
        """Return the log-odds."""
        levels = []
        for block in self.down:
            levels.append(block(max_pool3d(levels[-1], 2) if levels else seen))
        values = levels.pop()
        for block in self.up:
            values = block(torch.cat([levels.pop(), interpolate(values, scale_factor=2)], dim=1))
        result: Tensor = self.last(values)
        return result


def _twice(inputs: int, outputs: int, size: int) -> nn.Sequential:
    """Return two convolutions of size x size x size pixels."""
    pairs = [(nn.Conv3d(width, outputs, size, padding=size // 2), nn.ReLU()) for width in (inputs, outputs)]
    return nn.Sequential(*(layer for pair in pairs for layer in pair))


def unet(brains: Sequence[Specimen3d], names: Sequence[str], *, seed: int = 0) -> Callable[[Specimen3d], FloatArray]:
    """Return the log-odds (N,) of a brain by a U-Net that learned from others; `names` are those of the features."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    columns = [names.index(name) for name in CHANNELS]
    some = np.concatenate([brain.features[::97, columns] for brain in brains]).astype(np.float32)
    centre = np.median(some, axis=0)
    scale = 1.4826 * np.median(np.abs(some - centre), axis=0) + 1e-3
    net = UNet(len(columns))

    def seen(brain: Specimen3d, box: Box) -> Tensor:
        volume = np.zeros((len(columns), *brain.mask.shape), dtype=np.float32)
        volume[:, brain.mask] = np.arcsinh((brain.features[:, columns].astype(np.float32) - centre) / scale).T
        return _cut(volume, box)

    # two brains a step, half of the pairs mirrored
    count = len(brains) // BATCH * BATCH
    steps = np.concatenate([rng.permutation(len(brains))[:count].reshape(-1, BATCH) for _ in range(EPOCHS)])
    adam = torch.optim.AdamW(net.parameters(), weight_decay=1e-4)
    rates = torch.optim.lr_scheduler.OneCycleLR(adam, PEAK_RATE, len(steps), pct_start=WARM_SHARE)
    for step in steps:
        pair = [brains[number] for number in step]
        box = bounding_box(np.any([brain.mask for brain in pair], axis=0))
        values = torch.stack([seen(brain, box) for brain in pair])
        targets = torch.stack([_cut(np.stack([brain.lesion, _weights(brain)]), box) for brain in pair])
        if rng.random() < MIRRORED_SHARE:
            values, targets = values.flip(2), targets.flip(2)
        truth, weights = targets[:, :1], targets[:, 1:]
        loss = binary_cross_entropy_with_logits(net(values), truth, weights, reduction="sum") / BATCH
        adam.zero_grad()
        loss.backward()
        adam.step()
        rates.step()

    @torch.no_grad()
    def odds(brain: Specimen3d) -> FloatArray:
        box = bounding_box(brain.mask)
        inside = brain.mask[box]
        values: FloatArray = net(seen(brain, box)[None])[0, 0].numpy()[tuple(map(slice, inside.shape))][inside]
        return values

    return odds


def _cut(volume: FloatArray, box: Box) -> Tensor:
    """Return the box of (C, I, I, I), with zeros to sizes that can be halved twice."""
    inside = torch.from_numpy(np.ascontiguousarray(volume[(slice(None), *box)], dtype=np.float32))
    more = [-size % 4 for size in inside.shape[1:]]
    return pad(inside, [0, more[2], 0, more[1], 0, more[0]])


def _weights(brain: Specimen3d) -> FloatArray:
    """Return what each voxel of a brain weighs in the loss, float32 (I, I, I)."""
    rest = brain.mask & ~brain.lesion
    inside = LESION_SHARE / max(MANY, np.count_nonzero(brain.lesion))
    outside = (1 - LESION_SHARE) / np.count_nonzero(rest)
    return (inside * brain.lesion + outside * rest).astype(np.float32)
