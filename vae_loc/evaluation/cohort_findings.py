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


def finding_tables(
    scans: Sequence[Mapping[Method, ScanFindings | Missing]], healthy: Sequence[HealthyScan], *, seed: int
) -> dict[str, FindingTable | Missing]:
    """Return the figures of each map's findings; a map of which a scan has no findings is missing."""
    tables: dict[str, FindingTable | Missing] = {}
    for method in METHODS:
        of = [scan[method] for scan in scans]
        missing = next((one for one in of if isinstance(one, Missing)), None)
        known = [one for one in of if not isinstance(one, Missing)]
        tables[method] = missing or _table(known, [scan.findings[method] for scan in healthy], healthy, seed)
    return tables


def _table(
    scans: Sequence[ScanFindings], counts: Sequence[Mapping[float, int]], healthy: Sequence[HealthyScan], seed: int
) -> FindingTable:
    """Return the points at the rates that every scan has findings at."""
    rates = [rate for rate in FINDING_RATES if all(rate in scan.rates for scan in scans)]
    subjects = [scan.subject for scan in healthy]
    points = []
    for rate in rates:
        findings, with_any = (
            _measured(subjects, values, seed)
            for values in ([float(of[rate]) for of in counts], [float(of[rate] > 0) for of in counts])
        )
        points.append(_point(scans, rate, findings, with_any, seed))
    return FindingTable(headline=HEADLINE_RATE, points=points)


def _measured(subjects: Sequence[str], values: Sequence[float], seed: int) -> Interval | Missing:
    return subject_interval(subjects, values, seed=seed) if subjects else Missing(reason=NO_HEALTHY)


def _point(
    scans: Sequence[ScanFindings], rate: float, findings: Interval | Missing, with_any: Interval | Missing, seed: int
) -> FindingPoint:
    """Return what the findings of all scans achieve at one rate."""
    subjects = [scan.subject for scan in scans]
    figures = [scan.rates[rate] for scan in scans]
    lesions_found = {size: sum(of.found[size] for of in figures) for size in CLASS_NAMES}
    lesions = {size: sum(scan.lesions[size] for scan in scans) for size in CLASS_NAMES}
    total = sum(lesions.values())

    def mean(values: Sequence[float | None]) -> Interval:
        return subject_interval(subjects, values, seed=seed)

    return FindingPoint(
        rate=rate,
        patients_found=mean([_has_found(scan, of) for scan, of in zip(scans, figures, strict=True)]),
        strongest_is_lesion=mean([_strongest_is(scan, of) for scan, of in zip(scans, figures, strict=True)]),
        lesions_found=lesions_found,
        lesions=lesions,
        sensitivity=sum(lesions_found.values()) / total if total else None,
        false_per_patient=mean([float(of.false) for of in figures]),
        dice=mean([of.dice for of in figures]),
        healthy_findings=findings,
        healthy_with_any=with_any,
    )


def _has_found(scan: ScanFindings, figures: RateFigures) -> float | None:
    """Return 1 if a lesion of the scan is found, else 0; None for a scan without lesions."""
    return float(any(figures.found.values())) if any(scan.lesions.values()) else None


def _strongest_is(scan: ScanFindings, figures: RateFigures) -> float | None:
    """Return 1 if the strongest finding shares a voxel with a lesion, else 0; None for a scan without lesions."""
    return float(scan.rank == 1 and figures.findings > 0) if any(scan.lesions.values()) else None
