"""Thresholds from healthy scans alone: quantiles of every score on a held-out fifth (design [7])."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from vae_loc.brain import BrainMask
from vae_loc.canonical import to_place
from vae_loc.checkpoint import METHODS, Checkpoint, Healthy, Method, quantiles, with_healthy
from vae_loc.cohort import Case
from vae_loc.errors import UnusableInput
from vae_loc.locate import Located, locate
from vae_loc.scoring import build_model
from vae_loc.volume import FloatArray, read_volume

MAX_VOXELS_PER_SCAN = 50_000  # evenly spaced sample: 155 scans x 5 maps stay below 160 MB
SAMPLE_SCORES = ("rec", "kl", "elbo")
MIN_SUBJECTS_AT_PLACE = 3  # fewer give no spread
MIN_PLACE_SD = 0.1  # robust SDs; the interpolation noise of a homogeneous region


def calibrate_healthy(
    checkpoint: Checkpoint,
    cases: Sequence[Case],
    *,
    brain_mask: BrainMask | None = None,
    device: str = "cpu",
    progress: Callable[[int, int], None] | None = None,
) -> Checkpoint:
    """Return a copy of `checkpoint` that knows the healthy distribution of every score.

    Parameters
    ----------
    cases : healthy scans that the model was not trained on
    brain_mask : None takes the mask beside each scan where there is one, else `auto`

    Raises
    ------
    UnusableInput : if there is no case, or one cannot be read.
    """
    if not cases:
        raise UnusableInput("calibration", "expected at least one healthy scan, got none")
    model = build_model(checkpoint, device)
    maps: dict[Method, list[FloatArray]] = {method: [] for method in METHODS}
    slices: dict[str, list[NDArray[np.float64]]] = {name: [] for name in SAMPLE_SCORES}
    volumes: dict[str, list[float]] = {name: [] for name in SAMPLE_SCORES}
    sums = np.zeros((3, *(checkpoint.facts.network.image_size,) * 3))
    for done, case in enumerate(sorted(cases, key=lambda case: (case.subject, str(case.scan)))):
        how = brain_mask or case.brain_mask or "auto"
        found = locate(read_volume(case.scan), checkpoint, model, brain_mask=how, methods=METHODS)
        step = max(1, int(np.count_nonzero(found.brain)) // MAX_VOXELS_PER_SCAN)
        for method in METHODS:
            maps[method].append(found.maps[method][found.brain][::step])
        for name in SAMPLE_SCORES:
            slices[name].append(found.scores.slices[name][found.scores.counted])
            volumes[name].append(found.scores.volume[name])
        sums += _moments(found)
        if progress is not None:
            progress(done + 1, len(cases))
    healthy = Healthy(
        subjects=len({case.subject for case in cases}),
        maps={method: quantiles(np.concatenate(parts)) for method, parts in maps.items()},
        slices={name: quantiles(np.concatenate(parts)) for name, parts in slices.items()},
        volumes={name: quantiles(np.array(values)) for name, values in volumes.items()},
    )
    return with_healthy(checkpoint, healthy, _places(sums))


def _moments(found: Located) -> NDArray[np.float64]:
    """Return brain, intensity and its square at every place, (3, I, I, I)."""
    brain = to_place(found.canonical.mask.astype(np.float32), found.canonical).astype(np.float64)
    intensity = to_place(found.canonical.data, found.canonical) * brain
    return np.stack([brain, intensity, intensity**2])


def _places(sums: NDArray[np.float64]) -> dict[str, FloatArray]:
    count, total, squares = sums
    enough = count >= min(MIN_SUBJECTS_AT_PLACE, count.max())
    mean = np.divide(total, count, out=np.zeros_like(total), where=enough)
    variance = np.divide(squares, count, out=np.zeros_like(total), where=enough) - mean**2
    sd = np.where(enough, np.sqrt(np.maximum(variance, MIN_PLACE_SD**2)), 0)
    return {"intensity.mean": mean.astype(np.float32), "intensity.sd": sd.astype(np.float32)}
