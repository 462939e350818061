"""The measured share of healthy voxels above each stated one."""

import json

import pytest
from support.commands import invoke

from vae_loc.evaluation.healthy_rates import STATED_SHARES, measure_healthy
from vae_loc.preprocessing.open_scan import open_scan
from vae_loc.scans.cases import find_cases
from vae_loc.scoring.locate import locate
from vae_loc.scoring.score_options import ScoreOptions, Segmentation
from vae_loc.scoring.segmentation import segment
from vae_loc.vocabulary import METHODS


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


def test_findings_of_healthy_scans_are_those_that_segment_gives(healthy_folder, trained):
    cases = find_cases([healthy_folder])[:2]
    scans = measure_healthy(cases, trained, brain_mask=None, progress=lambda _: None)
    assert [scan.subject for scan in scans] == ["sub0", "sub1"]
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
