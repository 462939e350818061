"""Thresholds from healthy scans alone: quantiles of every score on a held-out fifth (design [7])."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from vae_loc.checkpoint import METHODS, Checkpoint, Healthy, Method, quantiles, with_healthy
from vae_loc.cohort import Case
from vae_loc.errors import UnusableInput
from vae_loc.locate import locate
from vae_loc.scoring import build_model
from vae_loc.volume import FloatArray, read_volume

MAX_VOXELS_PER_SCAN = 50_000  # evenly spaced sample: 155 scans x 5 maps stay below 160 MB
SAMPLE_SCORES = ("rec", "kl", "elbo")


def calibrate_healthy(
    checkpoint: Checkpoint,
    cases: Sequence[Case],
    *,
    brain_mask: Path | Literal["auto", "none"] | None = None,
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
    methods: tuple[Method, ...] = METHODS  # type: ignore[assignment]
    maps: dict[Method, list[FloatArray]] = {method: [] for method in methods}
    slices: dict[str, list[np.ndarray]] = {name: [] for name in SAMPLE_SCORES}
    volumes: dict[str, list[float]] = {name: [] for name in SAMPLE_SCORES}
    for done, case in enumerate(cases):
        how = brain_mask or case.brain_mask or "auto"
        found = locate(read_volume(case.scan), checkpoint, model, brain_mask=how, methods=methods)
        step = max(1, int(np.count_nonzero(found.brain)) // MAX_VOXELS_PER_SCAN)
        for method in methods:
            maps[method].append(found.maps[method][found.brain][::step])
        for name in SAMPLE_SCORES:
            slices[name].append(found.scores.slices[name][found.scores.counted])
            volumes[name].append(found.scores.volume[name])
        if progress is not None:
            progress(done + 1, len(cases))
    healthy = Healthy(
        subjects=len({case.subject for case in cases}),
        maps={method: quantiles(np.concatenate(parts)) for method, parts in maps.items()},
        slices={name: quantiles(np.concatenate(parts)) for name, parts in slices.items()},
        volumes={name: quantiles(np.array(values)) for name, values in volumes.items()},
    )
    return with_healthy(checkpoint, healthy)
