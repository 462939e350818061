"""Slices -> the same brains as other scanners might show them."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from vae_loc.preprocessing.canonical import BACKGROUND_SD, CLIP_SD

MAX_ROTATION_RAD = math.radians(10)  # a head's tilt in the axial plane
MAX_SCALE = 0.1  # adult heads differ by about +-10 %
MAX_SHIFT = 0.06  # of half the image: 2 pixels, errors of a mask's centroid
MAX_GAIN = 0.1  # contrast between scanners, relative
MAX_OFFSET_SD = 0.2  # brightness between scanners
MAX_BIAS = 0.12  # relative, of the coil's slow shading
BIAS_NODES = 4  # of its grid, over the image
MEDIAN_SD = 3.8  # of a brain's median above zero intensity: shading multiplies from there
MAX_NOISE_SD = 0.12
MAX_BLUR = 0.6  # share of a 3x3 mean mixed in: lower resolutions than the cohort's
BLURRED_SHARE, ERODED_SHARE = 0.6, 0.3  # of the slices; masks differ by a pixel in tightness
COARSE_NODES = (3, 16)  # of the coarse noise's grid: blobs of 12 to 64 mm


def augment(x: Tensor, generator: torch.Generator) -> Tensor:
    """Return slices mirrored, rotated, scaled, shifted, and as another scanner might show them.

    x : (B, 1, H, W) in canonical units. Interpolates among brain pixels only; the background
    keeps its value.
    """
    count = len(x)

    def uniform(limit: float) -> Tensor:
        return (2 * torch.rand(count, generator=generator) - 1).to(x.device) * limit

    # a pose for each slice
    angle, zoom = uniform(MAX_ROTATION_RAD), 1 + uniform(MAX_SCALE)
    mirror = torch.where(uniform(1) > 0, 1.0, -1.0)
    cos, sin = angle.cos() * zoom, angle.sin() * zoom
    # H runs to the right: the mirror acts on the y of grid_sample, whose points are (x=W, y=H)
    rows = [
        torch.stack([cos, -sin, uniform(MAX_SHIFT)], 1),
        torch.stack([sin * mirror, cos * mirror, uniform(MAX_SHIFT)], 1),
    ]

    # the background is no tissue: where less than half of a pixel is brain there is none
    brain = (x > BACKGROUND_SD).to(x.dtype)
    points = functional.affine_grid(torch.stack(rows, 1), [count, 2, *x.shape[2:]], align_corners=False)
    warped = functional.grid_sample(torch.cat([x * brain, brain], 1), points, align_corners=False)
    values, coverage = warped[:, :1], warped[:, 1:]

    # the scanner: contrast and brightness here, the rest below
    gain, offset = 1 + uniform(MAX_GAIN), uniform(MAX_OFFSET_SD)
    tissue = values / coverage.clamp_min(0.5) * gain[:, None, None, None] + offset[:, None, None, None]
    tissue, kept = _other_scanner(tissue, coverage >= 0.5, generator)
    return torch.where(kept, tissue.clamp(*CLIP_SD), torch.full_like(tissue, BACKGROUND_SD))


def _other_scanner(tissue: Tensor, brain: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Shade, blur, add noise to, and tighten the mask of every slice of a batch differently."""
    count, size = len(tissue), tissue.shape[2:]

    def share() -> Tensor:
        return torch.rand(count, 1, 1, 1, generator=generator).to(tissue.device)

    # slow shading multiplies the intensities
    nodes = torch.randn(count, 1, BIAS_NODES, BIAS_NODES, generator=generator).to(tissue.device)
    shading = functional.interpolate(nodes, size=size, mode="bicubic", align_corners=True)
    tissue = (tissue + MEDIAN_SD) * (MAX_BIAS * share() * shading).exp() - MEDIAN_SD

    # some slices are blurred, by their brain pixels alone
    inside = brain.to(tissue.dtype)
    near = functional.avg_pool2d(inside, 3, 1, 1).clamp_min(1 / 9)
    mixed = MAX_BLUR * share() * (share() < BLURRED_SHARE)
    tissue = tissue * (1 - mixed) + mixed * functional.avg_pool2d(tissue * inside, 3, 1, 1) / near

    # noise, and a tighter mask for some
    noise = torch.randn(tissue.shape, generator=generator).to(tissue.device)
    tissue = tissue + MAX_NOISE_SD * share() * noise
    eroded = -functional.max_pool2d(-inside, 3, 1, 1) > 0
    return tissue, torch.where(share() < ERODED_SHARE, eroded & brain, brain)


def add_coarse_noise(x: Tensor, sd: float, generator: torch.Generator) -> Tensor:
    """Return slices (B, 1, H, W) with smooth blobs of up to `sd` added to the brain; the clean ones are the target.

    Coarse noise teaches the network to leave out what does not belong to a brain (Kascenas et al., MIDL 2022).
    """
    nodes = int(torch.randint(COARSE_NODES[0], COARSE_NODES[1] + 1, (1,), generator=generator))
    blobs = torch.randn(len(x), 1, nodes, nodes, generator=generator)
    blobs = functional.interpolate(blobs, size=x.shape[2:], mode="bilinear", align_corners=False)
    strength = sd * torch.rand(len(x), 1, 1, 1, generator=generator) / blobs.std()
    noised = (x + (strength * blobs).to(x.device)).clamp(*CLIP_SD)
    return torch.where(x > BACKGROUND_SD, noised, x)
