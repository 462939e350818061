"""A cohort: patients and lesions found at each rate; false findings and marked voxels of scans that are healthy."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from vae_loc.evaluation.lesions import (
    CLASS_NAMES,
    FINDING_RATES,
    HEADLINE_RATE,
    ScanFindings,
    count_findings,
    findings_of,
)
from vae_loc.evaluation.metrics import subject_interval
from vae_loc.evaluation.record import FindingPoint, FindingTable, HealthyRates, Interval, Missing
from vae_loc.evaluation.scan_metrics import evaluated_maps
from vae_loc.model.checkpoint import healthy_threshold
from vae_loc.model.network import Model
from vae_loc.preprocessing.open_scan import open_scan
from vae_loc.scans.cases import Case
from vae_loc.scoring.locate import locate
from vae_loc.scoring.score_options import ScoreOptions
from vae_loc.vocabulary import EVALUATED, LEARNED, METHODS, BrainMask, Method

STATED_SHARES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5)  # of healthy voxels above a threshold
NO_HEALTHY = "no healthy scans were given (--healthy)"
NO_HEALTHY_FINDINGS = "the model has no healthy findings; give it some: vae-loc calibrate MODEL --healthy SCANS"


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
    maps = evaluated_maps(model)
    thresholds = {of: [healthy_threshold(model.checkpoint, of, share) for share in STATED_SHARES] for of in maps}
    scans = []
    for case in cases:
        located = locate(open_scan(case, brain_mask=brain_mask), model, ScoreOptions(methods=maps, force=True))
        shares: dict[Method, list[float]] = {}
        for method in maps:
            scores = located.maps[method][located.brain]
            shares[method] = [float(np.mean(scores > threshold)) for threshold in thresholds[method]]
        counts = {method: count_findings(of) for method, of in findings_of(located, model).items()}
        scans.append(HealthyScan(case.subject, shares, counts))
        progress(case.scan.name)
    return scans


def healthy_rates(scans: Sequence[HealthyScan], *, seed: int) -> HealthyRates:
    """Return, for each map and stated share, the share of healthy brain voxels above the percentile.

    Mean over subjects with its 95 % interval; a share as stated means that the thresholds hold.
    """
    subjects = [scan.subject for scan in scans]
    measured: dict[str, list[Interval]] = {}
    for method in scans[0].shares:
        columns = zip(*(scan.shares[method] for scan in scans), strict=True)
        measured[method] = [subject_interval(subjects, shares, seed=seed) for shares in columns]
    return HealthyRates(subjects=len(set(subjects)), stated=list(STATED_SHARES), measured=measured)


def finding_tables(
    scans: Sequence[Mapping[Method, ScanFindings]], healthy: Sequence[HealthyScan], *, seed: int
) -> dict[str, FindingTable | Missing]:
    """Return the figures of each map's findings at each rate; a map without findings in any scan is missing."""
    tables: dict[str, FindingTable | Missing] = {}
    for method in EVALUATED if any(LEARNED in scan for scan in scans) else METHODS:
        if not all(method in scan for scan in scans):
            tables[method] = Missing(reason=NO_HEALTHY_FINDINGS)
            continue
        of, others = [scan[method] for scan in scans], [scan.subject for scan in healthy]
        counts = {rate: [scan.findings[method][rate] for scan in healthy] for rate in FINDING_RATES}
        points = [_point(of, others, counts[rate], rate, seed) for rate in FINDING_RATES]
        tables[method] = FindingTable(headline=HEADLINE_RATE, points=points)
    return tables


def _point(
    scans: Sequence[ScanFindings], others: Sequence[str], counts: Sequence[int], rate: float, seed: int
) -> FindingPoint:
    """Return the figures of all scans' findings at one rate; healthy scans are of subjects `others`."""
    subjects = [scan.subject for scan in scans]
    figures = [scan.rates[rate] for scan in scans]
    lesions_found = {size: sum(of.found[size] for of in figures) for size in CLASS_NAMES}
    lesions = {size: sum(scan.lesions[size] for scan in scans) for size in CLASS_NAMES}
    total = sum(lesions.values())
    # 1 or 0 for each patient with a lesion
    pairs = list(zip(scans, figures, strict=True))
    found = [float(of.true > 0) if any(scan.lesions.values()) else None for scan, of in pairs]
    first = [None if hit is None else hit * (scan.rank == 1) for scan, hit in zip(scans, found, strict=True)]

    def mean(values: Sequence[float | None]) -> Interval:
        return subject_interval(subjects, values, seed=seed)

    def measured(values: Sequence[float]) -> Interval | Missing:
        return subject_interval(others, values, seed=seed) if others else Missing(reason=NO_HEALTHY)

    return FindingPoint(
        rate=rate,
        patients_found=mean(found),
        strongest_is_lesion=mean(first),
        lesions_found=lesions_found,
        lesions=lesions,
        sensitivity=sum(lesions_found.values()) / total if total else None,
        false_per_patient=mean([float(of.false) for of in figures]),
        dice=mean([of.dice for of in figures]),
        healthy_findings=measured([float(count) for count in counts]),
        healthy_with_any=measured([float(count > 0) for count in counts]),
    )
