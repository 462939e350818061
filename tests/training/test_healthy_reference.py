"""What is healthy: each subject is judged by the others."""

import numpy as np
import pytest
from support.phantoms import AFFINE, BALL, SHAPE, phantom, save
from support.scans import opened

from vae_loc.errors import UnusableInput
from vae_loc.model.checkpoint import healthy_threshold, with_reference
from vae_loc.model.network import ready
from vae_loc.scans.cases import find_cases
from vae_loc.scoring.locate import locate
from vae_loc.scoring.score_options import ScoreOptions
from vae_loc.training.healthy_reference import calibrate_cases


def test_a_healthy_brain_is_judged_by_the_others(tmp_path, healthy_folder, trained):
    """A brain unlike the others widens the spread by place, but not when it is judged itself."""
    odd = save(tmp_path / "odd_t1.nii.gz", phantom(AFFINE, SHAPE, ball=BALL, gain=3.0)[0], AFFINE)
    bare = with_reference(trained.checkpoint, {"template": trained.reference["template"]})
    calibrated = calibrate_cases(bare, find_cases([*sorted(healthy_folder.glob("sub*_t1.nii.gz")), odd]))
    by_all = locate(opened(odd), ready(calibrated), ScoreOptions(methods=["rec-error"])).maps["rec-error"].max()
    assert max(calibrated.facts.healthy.maps["rec-error"]) > 2 * by_all


def test_one_healthy_brain_is_judged_by_itself(healthy_folder, trained):
    bare = with_reference(trained.checkpoint, {"template": trained.reference["template"]})
    one = calibrate_cases(bare, find_cases([healthy_folder / "sub0_t1.nii.gz"]))
    assert healthy_threshold(one, "combi", 0.05) > 0


def test_the_brains_that_calibrated_a_model_exceed_its_thresholds_as_stated(healthy_folder, trained):
    """The quantiles are those of the scores that `locate` gives, where the statistics by place are those of all."""
    bare = with_reference(trained.checkpoint, {"template": trained.reference["template"]})
    cases = find_cases([healthy_folder / f"sub{number}_t1.nii.gz" for number in range(3)])
    calibrated = ready(calibrate_cases(bare, cases))
    scores = []
    for case in cases:
        found = locate(opened(case.scan), calibrated)
        scores.append(found.maps["combi"][found.brain])
    for fpr in (0.05, 0.2):
        threshold = healthy_threshold(calibrated.checkpoint, "combi", fpr)
        assert np.mean(np.concatenate(scores) > threshold) == pytest.approx(fpr, abs=0.005)


def test_the_order_of_the_cases_has_no_influence(healthy_folder, trained):
    bare = with_reference(trained.checkpoint, {"template": trained.reference["template"]})
    cases = find_cases([healthy_folder / f"sub{number}_t1.nii.gz" for number in range(2)])
    assert calibrate_cases(bare, cases).digest == calibrate_cases(bare, cases[::-1]).digest


def test_without_a_case_nothing_can_be_calibrated(trained):
    with pytest.raises(UnusableInput, match="expected at least one healthy scan"):
        calibrate_cases(trained.checkpoint, [])
