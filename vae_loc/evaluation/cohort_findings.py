"""The findings of a cohort: patients and lesions found, and false findings, at each rate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from vae_loc.evaluation.healthy_rates import HealthyScan
from vae_loc.evaluation.lesions import CLASS_NAMES
from vae_loc.evaluation.metrics import subject_interval
from vae_loc.evaluation.record import FindingPoint, FindingTable, Interval, Missing
from vae_loc.evaluation.scan_findings import FINDING_RATES, HEADLINE_RATE, RateFigures, ScanFindings
from vae_loc.vocabulary import METHODS, Method

NO_HEALTHY = "no healthy scans were given (--healthy)"
NO_HEALTHY_FINDINGS = "the model has no healthy findings; give it some: vae-loc calibrate MODEL --healthy SCANS"


def finding_tables(
    scans: Sequence[Mapping[Method, ScanFindings]], healthy: Sequence[HealthyScan], *, seed: int
) -> dict[str, FindingTable | Missing]:
    """Return the figures of each map's findings at each rate; a map without findings in any scan is missing."""
    tables: dict[str, FindingTable | Missing] = {}
    for method in METHODS:
        if not all(method in scan for scan in scans):
            tables[method] = Missing(reason=NO_HEALTHY_FINDINGS)
            continue
        of, counts = [scan[method] for scan in scans], [(scan.subject, scan.findings[method]) for scan in healthy]
        points = [
            _point(of, [(subject, found[rate]) for subject, found in counts], rate, seed) for rate in FINDING_RATES
        ]
        tables[method] = FindingTable(headline=HEADLINE_RATE, points=points)
    return tables


def _point(scans: Sequence[ScanFindings], healthy: Sequence[tuple[str, int]], rate: float, seed: int) -> FindingPoint:
    """Return the figures of all scans' findings at one rate; `healthy` holds subject and findings of each scan."""
    subjects = [scan.subject for scan in scans]
    others = [subject for subject, _ in healthy]
    figures = [scan.rates[rate] for scan in scans]
    lesions_found = {size: sum(of.found[size] for of in figures) for size in CLASS_NAMES}
    lesions = {size: sum(scan.lesions[size] for scan in scans) for size in CLASS_NAMES}
    total = sum(lesions.values())

    def mean(values: Sequence[float | None]) -> Interval:
        return subject_interval(subjects, values, seed=seed)

    def measured(values: Sequence[float]) -> Interval | Missing:
        return subject_interval(others, values, seed=seed) if others else Missing(reason=NO_HEALTHY)

    return FindingPoint(
        rate=rate,
        patients_found=mean([_has_found(scan, of) for scan, of in zip(scans, figures, strict=True)]),
        strongest_is_lesion=mean([_strongest_is(scan, of) for scan, of in zip(scans, figures, strict=True)]),
        lesions_found=lesions_found,
        lesions=lesions,
        sensitivity=sum(lesions_found.values()) / total if total else None,
        false_per_patient=mean([float(of.false) for of in figures]),
        dice=mean([of.dice for of in figures]),
        healthy_findings=measured([float(found) for _, found in healthy]),
        healthy_with_any=measured([float(found > 0) for _, found in healthy]),
    )


def _has_found(scan: ScanFindings, figures: RateFigures) -> float | None:
    """Return 1 if a lesion of the scan is found, else 0; None for a scan without lesions."""
    return float(any(figures.found.values())) if any(scan.lesions.values()) else None


def _strongest_is(scan: ScanFindings, figures: RateFigures) -> float | None:
    """Return 1 if the strongest finding shares a voxel with a lesion, else 0; None for a scan without lesions."""
    return float(scan.rank == 1 and figures.findings > 0) if any(scan.lesions.values()) else None
