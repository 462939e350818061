"""What is healthy: each subject is judged by the others."""

import numpy as np
import pytest
from support.phantoms import AFFINE, BALL, SHAPE, phantom, save
from support.scans import opened

from vae_loc.errors import UnusableInput
from vae_loc.model.checkpoint import healthy_threshold, with_reference
from vae_loc.model.network import load_model, ready
from vae_loc.scans.cases import find_cases
from vae_loc.scoring.locate import locate
from vae_loc.scoring.score_options import ScoreOptions
from vae_loc.training.healthy_reference import calibrate_cases, prior_sums
from vae_loc.training.healthy_scores import PRIOR_SUBJECTS


@pytest.fixture(scope="module")
def small(small_model):
    """`small_model`, ready to score."""
    return load_model(small_model)


@pytest.mark.full
def test_a_healthy_brain_is_judged_by_the_others(tmp_path, healthy_folder, small):
    """A brain unlike the others widens the spread by place, but not when it is judged itself."""
    odd = save(tmp_path / "odd_t1.nii.gz", phantom(AFFINE, SHAPE, ball=BALL, gain=3.0)[0], AFFINE)
    bare = with_reference(small.checkpoint, {"template": small.reference["template"]})
    calibrated = calibrate_cases(bare, find_cases([*sorted(healthy_folder.glob("sub*_t1.nii.gz")), odd]))
    by_all = locate(opened(odd), ready(calibrated), ScoreOptions(methods=["rec-error"])).maps["rec-error"].max()
    assert max(calibrated.facts.healthy.maps["rec-error"]) > 2 * by_all


def test_one_healthy_brain_is_judged_by_itself(healthy_folder, small):
    bare = with_reference(small.checkpoint, {"template": small.reference["template"]})
    one = calibrate_cases(bare, find_cases([healthy_folder / "sub0_t1.nii.gz"]))
    assert healthy_threshold(one, "combi", 0.05) > 0


@pytest.mark.full
def test_the_brains_that_calibrated_a_model_exceed_its_thresholds_as_stated(healthy_folder, small):
    """The quantiles are those of the scores that `locate` gives, where the statistics by place are those of all."""
    bare = with_reference(small.checkpoint, {"template": small.reference["template"]})
    cases = find_cases([healthy_folder / f"sub{number}_t1.nii.gz" for number in range(3)])
    calibrated = ready(calibrate_cases(bare, cases))
    scores = []
    for case in cases:
        found = locate(opened(case.scan), calibrated)
        scores.append(found.maps["combi"][found.brain])
    for fpr in (0.05, 0.2):
        threshold = healthy_threshold(calibrated.checkpoint, "combi", fpr)
        assert np.mean(np.concatenate(scores) > threshold) == pytest.approx(fpr, abs=0.005)


@pytest.mark.full
def test_the_order_of_the_cases_has_no_influence(healthy_folder, small):
    bare = with_reference(small.checkpoint, {"template": small.reference["template"]})
    cases = find_cases([healthy_folder / f"sub{number}_t1.nii.gz" for number in range(2)])
    assert calibrate_cases(bare, cases).digest == calibrate_cases(bare, cases[::-1]).digest


def test_without_a_case_nothing_can_be_calibrated(small):
    with pytest.raises(UnusableInput, match="expected at least one healthy scan"):
        calibrate_cases(small.checkpoint, [])


def test_brains_that_the_network_learned_from_count_by_place_alone(healthy_folder, small):
    bare = with_reference(small.checkpoint, {"template": small.reference["template"]})
    cases = find_cases([healthy_folder / f"sub{number}_t1.nii.gz" for number in range(2)])
    all_new, one_new = (calibrate_cases(bare, cases, learned=learned) for learned in ((), ("sub0",)))
    assert (all_new.facts.healthy.subjects, one_new.facts.healthy.subjects) == (2, 1)
    assert np.array_equal(all_new.reference["residual.mean"], one_new.reference["residual.mean"])
    assert all_new.facts.healthy.maps["combi"] != one_new.facts.healthy.maps["combi"]
    with pytest.raises(UnusableInput, match="expected at least one healthy scan"):
        calibrate_cases(bare, cases, learned=("sub0", "sub1"))


def test_the_healthy_people_of_a_model_count_as_ten_scans(small):
    model = small.checkpoint
    prior = prior_sums(model.reference, PRIOR_SUBJECTS)
    known = prior["residual"][0] > 0
    count, mean, square = (sums[known] for sums in prior["residual"])
    assert set(count) == {10}
    np.testing.assert_allclose(mean / 10, model.reference["residual.mean"][known])
    np.testing.assert_allclose(np.sqrt(square / 10 - (mean / 10) ** 2), model.reference["residual.sd"][known])
