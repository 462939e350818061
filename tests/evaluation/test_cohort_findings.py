"""The findings of a cohort at each rate."""

import json

import pytest
from support.commands import invoke

from vae_loc.evaluation.cohort_findings import STATED_SHARES, HealthyScan, finding_tables, measure_healthy
from vae_loc.evaluation.lesions import CLASS_NAMES, FINDING_RATES, RateFigures, ScanFindings
from vae_loc.evaluation.record import Missing
from vae_loc.preprocessing.open_scan import open_scan
from vae_loc.scans.cases import find_cases
from vae_loc.scoring.locate import locate
from vae_loc.scoring.score_options import ScoreOptions, Segmentation
from vae_loc.scoring.segmentation import segment
from vae_loc.vocabulary import METHODS


def sized(*counts):
    return dict(zip(CLASS_NAMES, counts, strict=True))


def scan(subject, *, lesions=(0, 0, 1), found=(0, 0, 0), false=0, rank=None, dice=0.5):
    """A scan with the same figures of each map at each rate."""
    true = int(rank is not None)
    figures = RateFigures(found=sized(*found), true=true, false=false, dice=dice)
    return {
        method: ScanFindings(subject, sized(*lesions), rank, dict.fromkeys(FINDING_RATES, figures))
        for method in METHODS
    }


def combi(*scans, healthy=()):
    return finding_tables(scans, healthy, seed=0)["combi"]


def test_patients_lesions_and_false_findings_are_counted():
    table = combi(
        scan("a", lesions=(2, 1, 1), found=(0, 1, 1), false=1, rank=1),
        scan("b", lesions=(1, 0, 1), found=(0, 0, 0), false=3, dice=0.1),
    )
    assert [point.rate for point in table.points] == list(FINDING_RATES)
    assert table.headline == 0.1
    for point in table.points:
        assert (point.patients_found.mean, point.strongest_is_lesion.mean) == (0.5, 0.5)
        assert (point.lesions, point.lesions_found) == (sized(3, 1, 2), sized(0, 1, 1))
        assert point.sensitivity == pytest.approx(2 / 6)
        assert (point.false_per_patient.mean, point.false_per_patient.low, point.false_per_patient.high) == (2, 1, 3)
        assert point.dice.mean == pytest.approx(0.3)


def test_a_patient_without_a_lesion_is_none_that_is_missed_but_has_false_findings():
    table = combi(scan("a", found=(0, 0, 1), rank=1), scan("b", lesions=(0, 0, 0), false=2, dice=None))
    for point in table.points:
        assert (point.patients_found.mean, point.patients_found.subjects) == (1, 1)
        assert point.strongest_is_lesion.subjects == point.dice.subjects == 1
        assert (point.false_per_patient.mean, point.false_per_patient.subjects) == (1, 2)


def test_a_patient_with_two_scans_counts_once():
    table = combi(scan("a", found=(0, 0, 1), rank=1), scan("a"), scan("b"))
    assert table.points[0].patients_found.mean == pytest.approx(0.25)
    assert table.points[0].patients_found.subjects == 2


def test_the_strongest_finding_counts_only_at_rates_that_keep_it():
    none = RateFigures(found=sized(0, 0, 0), true=0, false=0, dice=0.0)
    one = scan("a", found=(0, 0, 1), rank=1)
    one["combi"].rates[0.05] = none
    assert [point.strongest_is_lesion.mean for point in combi(one).points] == [0, 1, 1, 1, 1, 1]


def test_findings_of_healthy_scans_are_measured():
    """Of four healthy people, one has a finding at the strictest rate, and two at the others."""
    counts = ([1, 1, 1, 1, 1, 3], [0, 1, 1, 1, 1, 1], [0] * 6, [0] * 6)
    healthy = [
        HealthyScan(str(number), {}, {method: dict(zip(FINDING_RATES, of, strict=True)) for method in METHODS})
        for number, of in enumerate(counts)
    ]
    points = combi(scan("a"), healthy=healthy).points
    assert [point.healthy_findings.mean for point in points] == [0.25, 0.5, 0.5, 0.5, 0.5, 1]
    assert [point.healthy_with_any.mean for point in points] == [0.25, 0.5, 0.5, 0.5, 0.5, 0.5]
    assert points[0].healthy_findings.subjects == 4


def test_without_healthy_scans_nothing_is_measured_on_them():
    (point, *_) = combi(scan("a")).points
    assert point.healthy_findings == point.healthy_with_any == Missing(reason="no healthy scans were given (--healthy)")


def test_a_map_without_findings_is_missing_and_the_reason_says_what_to_do():
    scans = [{method: of for method, of in scan(name).items() if method != "combi"} for name in "ab"]
    tables = finding_tables(scans, [], seed=0)
    assert list(tables) == list(METHODS)
    missing = {name: of.reason for name, of in tables.items() if isinstance(of, Missing)}
    assert list(missing) == ["combi"]
    assert "calibrate MODEL --healthy" in missing["combi"]


def test_each_map_has_a_measured_share_for_each_stated_one(evaluated):
    rates = json.loads((evaluated[0] / "evaluation.json").read_text())["healthy_calibration"]
    assert set(rates) == {"subjects", "stated", "measured"}
    assert rates["subjects"] == 5
    assert rates["stated"] == list(STATED_SHARES)
    assert set(rates["measured"]) == set(METHODS)
    for intervals in rates["measured"].values():
        means = [interval["mean"] for interval in intervals]
        assert len(means) == len(STATED_SHARES)
        assert means == sorted(means)
        assert means[-1] == pytest.approx(STATED_SHARES[-1], abs=0.2)


@pytest.mark.full
def test_findings_of_healthy_scans_are_those_that_segment_gives(healthy_folder, trained):
    cases = find_cases([healthy_folder])[:1]
    scans = measure_healthy(cases, trained, brain_mask=None, progress=lambda _: None)
    assert [scan.subject for scan in scans] == ["sub0"]
    for case, scan in zip(cases, scans, strict=True):
        located = locate(open_scan(case), trained, ScoreOptions(methods=METHODS, force=True))
        for method in METHODS:
            for rate, count in scan.findings[method].items():
                rule = Segmentation(false_findings=rate)
                assert count == len(segment(located, trained, method, rule).findings)


@pytest.mark.full
def test_without_healthy_scans_the_reason_is_said(patients, model_file, tmp_path):
    options = ["--labels", "{subject}_seg.nii.gz", "-m", model_file, "-o", tmp_path]
    invoke("evaluate", patients / "p0_t1.nii.gz", *options)
    found = json.loads((tmp_path / "evaluation.json").read_text())["healthy_calibration"]
    assert found == {"value": None, "reason": "no healthy scans were given (--healthy)"}
