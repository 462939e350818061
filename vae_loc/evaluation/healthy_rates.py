"""Does "5 % of healthy voxels" hold? Healthy scans that the model never saw, against its own quantiles."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from vae_loc.evaluation.metrics import mean_interval
from vae_loc.evaluation.record import HealthyRates
from vae_loc.model.checkpoint import healthy_threshold
from vae_loc.model.network import Model
from vae_loc.preprocessing.open_scan import open_scan
from vae_loc.scans.cases import Case
from vae_loc.scoring.locate import locate
from vae_loc.vocabulary import METHODS, BrainMask

STATED_SHARES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5)  # of healthy voxels above a threshold


def healthy_rates(
    cases: Sequence[Case],
    model: Model,
    *,
    brain_mask: BrainMask | None,
    seed: int,
    progress: Callable[[str], None],
) -> HealthyRates:
    """Return, for each map and stated share, the share of healthy brain voxels above the percentile.

    Mean over subjects with its 95 % interval; a share as stated means that the thresholds hold.
    """
    shares: dict[str, dict[str, list[list[float]]]] = {method: {} for method in METHODS}
    for case in cases:
        located = locate(open_scan(case, brain_mask=brain_mask), model, methods=METHODS)
        for method in METHODS:
            scores = located.maps[method][located.brain]
            thresholds = [healthy_threshold(model.checkpoint, method, share) for share in STATED_SHARES]
            above = [float(np.mean(scores > threshold)) for threshold in thresholds]
            shares[method].setdefault(case.subject, []).append(above)
        progress(case.scan.name)
    measured = {}
    for name, by_subject in shares.items():
        means = np.array([np.mean(scans, axis=0) for scans in by_subject.values()])
        measured[name] = [mean_interval(list(column), seed=seed) for column in means.T]
    subjects = len({case.subject for case in cases})
    return HealthyRates(subjects=subjects, stated=list(STATED_SHARES), measured=measured)
