"""Healthy brains -> their mean, to which all brains are aligned."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vae_loc.preprocessing.pose import windowed
from vae_loc.preprocessing.registration import align
from vae_loc.vocabulary import BoolArray, FloatArray

ROUNDS = 3
TEMPLATE_SUBJECTS = 30  # their mean is smooth; more cost time


def build_template(brains: Sequence[tuple[FloatArray, BoolArray]], pixel_mm: float) -> FloatArray:
    """Return the mean of brains, float32 (N, N, N), after they were aligned to it, in rounds.

    Its size is the brains' mean size: each round undoes the mean affine. It is rounded to the 16 bits in which models
    store it, so that training and scoring align to the same numbers.

    Parameters
    ----------
    brains : data float32 and mask bool, (N, N, N) each
    """
    from scipy.ndimage import affine_transform

    images = [windowed(data, mask) for data, mask in brains]
    template: FloatArray = np.mean(images, axis=0, dtype=np.float32)
    middle = (template.shape[0] - 1) / 2
    for _ in range(ROUNDS):
        affines = [align(data, mask, template, pixel_mm)[0] for data, mask in brains]
        back = np.linalg.inv(np.mean(affines, axis=0))
        aligned = []
        for image, affine in zip(images, affines, strict=True):
            of = affine @ back
            offset = middle + of[:3, 3] / pixel_mm - of[:3, :3] @ np.full(3, middle)
            aligned.append(affine_transform(image, of[:3, :3], offset, order=1))
        template = np.mean(aligned, axis=0, dtype=np.float32)
    rounded: FloatArray = template.astype(np.float16).astype(np.float32)
    return rounded
