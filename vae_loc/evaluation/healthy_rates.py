"""Does "5 % of healthy voxels" hold? Healthy scans that the model never saw, against its own quantiles."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from vae_loc.evaluation.metrics import mean_interval
from vae_loc.model.checkpoint import Checkpoint, healthy_threshold
from vae_loc.model.network import build_model
from vae_loc.scans.cases import Case
from vae_loc.scans.volume import read_volume
from vae_loc.scoring.locate import locate
from vae_loc.vocabulary import METHODS, BrainMask

LEVELS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5)  # stated shares of healthy voxels above


def healthy_reliability(
    cases: Sequence[Case],
    checkpoint: Checkpoint,
    *,
    brain_mask: BrainMask | None,
    device: str,
    seed: int,
    progress: Callable[[str], None],
) -> dict[str, object]:
    """Return, for each map and stated share, the share of healthy brain voxels above the percentile.

    Mean over subjects with its 95 % interval; a share as stated means that the thresholds hold.
    """
    network = build_model(checkpoint, device)
    shares: dict[str, dict[str, list[list[float]]]] = {method: {} for method in METHODS}
    for case in cases:
        how = brain_mask or case.brain_mask or "auto"
        found = locate(read_volume(case.scan), checkpoint, network, brain_mask=how, methods=METHODS)
        for method in METHODS:
            scores = found.maps[method][found.brain]
            above = [float(np.mean(scores > healthy_threshold(checkpoint, method, level))) for level in LEVELS]
            shares[method].setdefault(case.subject, []).append(above)
        progress(case.scan.name)
    table: dict[str, object] = {"subjects": len({case.subject for case in cases}), "stated": list(LEVELS)}
    for name, of in shares.items():
        means = np.array([np.mean(scans, axis=0) for scans in of.values()])
        table[name] = [mean_interval(list(column), seed=seed) for column in means.T]
    return table
