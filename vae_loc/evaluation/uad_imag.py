"""The protocol of UAD-IMAG (Frotscher, Baumgartner, Wolfers 2025, arXiv:2512.01534): Dice of subjects, in the brain.

With D_s(t) the Dice of subject s at the threshold t:

    oracle          mean over s of  max over t of D_s(t)        each subject's own best threshold, in hindsight
    common oracle   max over t of  mean over s of D_s(t)        one threshold for all, in hindsight
    at 1 %          mean over s of  D_s(t_1)                    t_1: exceeded by 1 % of healthy voxels

Both oracles know the annotation, so that no one reaches them. Here no map is median-filtered.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from vae_loc.evaluation.cohort_findings import NO_HEALTHY
from vae_loc.evaluation.healthy_rates import HealthyScan, healthy_shares
from vae_loc.evaluation.metrics import BINS, Floats, binned, curve, quantile_edges
from vae_loc.evaluation.record import MapFigures, Missing, UadImagFigures
from vae_loc.evaluation.scan_findings import NO_MAP
from vae_loc.vocabulary import METHODS

FPR = 0.01  # share of healthy voxels above the threshold


def uad_imag(
    pixel: Mapping[str, MapFigures], common: Mapping[str, float | None], healthy: Sequence[HealthyScan]
) -> dict[str, UadImagFigures | Missing]:
    """Return the figures of each map.

    Parameters
    ----------
    pixel : the figures of each map, of which the Dice of subjects are taken
    common : what `common_oracle_dice` returned for each map
    """
    figures: dict[str, UadImagFigures | Missing] = {}
    for method in METHODS:
        of = pixel[method].per_subject if method in pixel else None
        if of is None:
            figures[method] = Missing(reason=NO_MAP)
            continue
        figures[method] = UadImagFigures(
            oracle_dice=of["oracle_dice"],
            common_oracle_dice=common[method],
            dice_at_1_percent=of[f"dice_fpr {FPR:.0%}"],
            healthy_above=healthy_shares(healthy, method, FPR) if healthy else Missing(reason=NO_HEALTHY),
        )
    return figures


def common_oracle_dice(
    positives: Sequence[Floats], negatives: Sequence[Floats], subjects: Sequence[str]
) -> float | None:
    """Return the greatest mean Dice over subjects that one threshold reaches, of `BINS`; None without an annotation.

    Parameters
    ----------
    positives, negatives : scores (N,) of each scan's lesion voxels and other voxels, ascending
    subjects : whose scan each is; the scans of one subject are averaged
    """
    known = [place for place, part in enumerate(positives) if len(part)]
    if not known:
        return None
    lesion, other = ([side[place] for place in known] for side in (positives, negatives))
    edges = quantile_edges(lesion, other, BINS)
    dice = curve(binned(lesion, edges), binned(other, edges))["dice"]
    owners = np.array([subjects[place] for place in known])
    means = [dice[owners == subject].mean(axis=0) for subject in dict.fromkeys(owners)]
    return float(np.mean(means, axis=0).max())
