"""Healthy scans that the model never saw: their voxels above healthy thresholds, and their findings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from vae_loc.evaluation.metrics import subject_interval
from vae_loc.evaluation.record import HealthyRates
from vae_loc.evaluation.scan_findings import count_findings, findings_of
from vae_loc.model.checkpoint import healthy_threshold
from vae_loc.model.network import Model
from vae_loc.preprocessing.open_scan import open_scan
from vae_loc.scans.cases import Case
from vae_loc.scoring.locate import Located, locate
from vae_loc.scoring.score_options import ScoreOptions
from vae_loc.vocabulary import METHODS, BrainMask, Method

STATED_SHARES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5)  # of healthy voxels above a threshold


@dataclass(frozen=True)
class HealthyScan:
    """One healthy scan.

    Attributes
    ----------
    shares : for each map, the shares of its brain voxels above the thresholds of `STATED_SHARES`
    findings : for each map, how many findings it has at each rate; a model without healthy findings gives none
    """

    subject: str
    shares: dict[Method, list[float]]
    findings: dict[Method, dict[float, int]]


def measure_healthy(
    cases: Sequence[Case], model: Model, *, brain_mask: BrainMask | None, progress: Callable[[str], None]
) -> list[HealthyScan]:
    """Score healthy scans; return their voxels above healthy thresholds and their findings, scan by scan.

    Raises
    ------
    UnusableInput : if a scan cannot be used.
    UnusableModel : if the model has no healthy statistics.
    """
    scans = []
    for case in cases:
        located = locate(open_scan(case, brain_mask=brain_mask), model, ScoreOptions(methods=METHODS, force=True))
        counts = {method: count_findings(of) for method, of in findings_of(located, model).items()}
        scans.append(HealthyScan(case.subject, _shares(located, model), counts))
        progress(case.scan.name)
    return scans


def healthy_rates(scans: Sequence[HealthyScan], *, seed: int) -> HealthyRates:
    """Return, for each map and stated share, the share of healthy brain voxels above the percentile.

    Mean over subjects with its 95 % interval; a share as stated means that the thresholds hold.
    """
    subjects = [scan.subject for scan in scans]
    measured = {
        method: [
            subject_interval(subjects, [scan.shares[method][place] for scan in scans], seed=seed)
            for place in range(len(STATED_SHARES))
        ]
        for method in METHODS
    }
    return HealthyRates(subjects=len(set(subjects)), stated=list(STATED_SHARES), measured=dict(measured))


def _shares(located: Located, model: Model) -> dict[Method, list[float]]:
    """Return the shares of brain voxels above the thresholds of `STATED_SHARES`."""
    shares = {}
    for method in METHODS:
        scores = located.maps[method][located.brain]
        thresholds = [healthy_threshold(model.checkpoint, method, share) for share in STATED_SHARES]
        shares[method] = [float(np.mean(scores > threshold)) for threshold in thresholds]
    return shares
