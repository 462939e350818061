"""A judge is learned from lesions made in healthy brains, and its map is one like the others."""

from dataclasses import replace

import numpy as np
import pytest
from support.commands import invoke, run
from support.phantoms import AFFINE, BALL, SHAPE, phantom, save
from support.scans import opened

from vae_loc import localize
from vae_loc.errors import UnusableModel, UnusableOption
from vae_loc.model.checkpoint import load_checkpoint, save_checkpoint, with_reference
from vae_loc.model.facts import JUDGE_WIDTHS
from vae_loc.model.network import load_model, ready
from vae_loc.scans.cases import find_cases
from vae_loc.scoring.findings import strengths_of
from vae_loc.scoring.learned_map import log_odds
from vae_loc.scoring.locate import locate
from vae_loc.scoring.score_options import ScoreOptions, Segmentation
from vae_loc.scoring.segmentation import segment
from vae_loc.training import healthy_reference, learned_judge
from vae_loc.training.healthy_reference import calibrate_cases
from vae_loc.training.learned_judge import trained_judge

LEARNED = ScoreOptions(methods=("learned", "rec-error"))


@pytest.fixture(scope="module")
def learn(healthy_folder, small_model):
    """A function that calibrates a model on four phantoms, in which lesions are made."""
    model = load_model(small_model).checkpoint
    bare = with_reference(model, {"template": model.reference["template"]})
    cases = find_cases([healthy_folder / f"sub{number}_t1.nii.gz" for number in range(4)])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(healthy_reference, "MIN_HOSTS", 4)
        patch.setattr(learned_judge, "BRAINS_PER_HOST", 1)
        yield lambda of=bare, count=4: calibrate_cases(of, cases[:count])


@pytest.fixture(scope="module")
def judged(learn):
    return learn()


def test_the_same_seed_gives_the_same_bytes(learn, judged):
    assert learn().digest == judged.digest


def test_a_file_holds_the_judge(judged, tmp_path):
    save_checkpoint(judged, tmp_path / "m.safetensors")
    again = load_checkpoint(tmp_path / "m.safetensors")
    assert again.digest == judged.digest
    assert judged.judge["centre"].shape == JUDGE_WIDTHS[:1]
    assert all(np.array_equal(again.judge[name], judged.judge[name]) for name in judged.judge)


def test_the_learned_map_has_healthy_values_and_findings_of_its_own(judged):
    assert judged.facts.healthy.findings["learned"].strengths
    assert max(judged.facts.healthy.maps["learned"]) > 0


def test_the_map_has_the_sign_of_the_residual_and_is_zero_outside_the_brain(judged, tmp_path):
    path = save(tmp_path / "pat_t1.nii.gz", phantom(AFFINE, SHAPE, ball=BALL, gain=3.0)[0], AFFINE)
    found = locate(opened(path), ready(judged), LEARNED)
    learned, residual = (found.signed_maps[method] for method in LEARNED.methods)
    both = (np.abs(learned) > 0.1) & (np.abs(residual) > 0.1)
    assert np.mean(np.sign(learned[both]) == np.sign(residual[both])) > 0.95
    assert found.maps["learned"].min() >= 0
    assert not found.maps["learned"][~found.brain].any()
    assert "learned" not in found.raw_maps


def test_fewer_healthy_people_keep_the_judge_and_another_is_not_learned_anew(learn, judged):
    fewer = learn(judged, 2)
    assert all(np.array_equal(fewer.judge[name], judged.judge[name]) for name in judged.judge)
    assert fewer.facts.healthy.maps["learned"] != judged.facts.healthy.maps["learned"]
    assert learn(judged).judge.keys() == judged.judge.keys()


def test_a_model_without_a_judge_says_so_in_one_line(scan, trained, model_file, monkeypatch, capsys):
    assert not trained.checkpoint.judge
    with pytest.raises(
        UnusableModel, match=r"no healthy statistics of learned; a model learns it from 20 healthy people"
    ):
        locate(opened(scan), trained, LEARNED)
    with pytest.raises(UnusableOption, match="--raw: expected a map of the paper"):
        locate(opened(scan), trained, replace(LEARNED, raw=True))
    code, said = run(monkeypatch, capsys, "score", scan, "--model", model_file, "--method", "learned", "--quiet")
    assert (code, said.err.count("\n")) == (5, 1)


def test_command_and_python_give_the_learned_map(judged, scan, tmp_path):
    save_checkpoint(judged, tmp_path / "m.safetensors")
    invoke("score", scan, "--model", tmp_path / "m.safetensors", "--method", "learned", "-o", tmp_path / "out")
    assert any("learned" in path.name for path in (tmp_path / "out").iterdir())
    assert localize(scan, model=tmp_path / "m.safetensors", methods=["learned"]).maps["learned"].any()


@pytest.mark.parametrize("rule", [Segmentation(), Segmentation(threshold=2.0)], ids=["findings", "a threshold"])
def test_the_judge_counts_for_combis_strengths_but_not_for_its_map_or_of_painted_contrasts(judged, tmp_path, rule):
    path = save(tmp_path / "pat_t1.nii.gz", phantom(AFFINE, SHAPE, ball=BALL, gain=3.0)[0], AFFINE)
    painted = judged.facts.training.model_copy(update={"synthesized_from": "t1"})
    models = {
        "real": judged,
        "painted": replace(judged, facts=judged.facts.model_copy(update={"training": painted})),
        "without": replace(judged, judge={}),
    }
    found = {name: locate(opened(path), ready(model)) for name, model in models.items()}
    with_judge, without = found["real"], found["without"]
    assert list(with_judge.signed_maps) == ["combi"]
    assert np.array_equal(with_judge.maps["combi"], without.maps["combi"])
    segmented = {name: segment(of, ready(models[name]), "combi", rule) for name, of in found.items()}
    strength = {name: of.findings[0].strength for name, of in segmented.items()}
    assert strength["real"] != strength["without"]
    likely = strengths_of(with_judge.signed_maps["combi"], segmented["real"].rule.threshold, with_judge.likeness)
    # a threshold takes the value at the scan's voxels, which the pixels' may exceed
    assert strength["real"] == pytest.approx(likely[0], rel=1e-6 if rule == Segmentation() else 0.1)
    assert found["painted"].likeness is None


@pytest.mark.parametrize("fault", ["a missing layer", "another shape", "a scale of 0", "NaN", "a foreign array"])
def test_a_damaged_judge_is_refused(judged, tmp_path, fault):
    judge = dict(judged.judge)
    if fault == "a missing layer":
        del judge["1.weight"], judge["1.bias"]
    elif fault == "another shape":
        judge["0.weight"] = judge["0.weight"][1:]
    elif fault == "a scale of 0":
        judge["scale"] = np.zeros_like(judge["scale"])
    elif fault == "NaN":
        judge["1.bias"] = judge["1.bias"] * np.nan
    else:
        judge["extra"] = np.ones(3, np.float32)
    save_checkpoint(replace(judged, judge=judge), tmp_path / "m.safetensors")
    with pytest.raises(UnusableModel, match=r"its (judge )?\S+ is missing, of another shape, not finite, or cannot be"):
        load_checkpoint(tmp_path / "m.safetensors")


def test_a_judge_learns_what_no_single_feature_tells():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(100_000, JUDGE_WIDTHS[0])).astype(np.float32)
    lesion = features[:, 0] * features[:, 1] > 0.5
    judge = trained_judge(features, lesion)
    odds = log_odds(features, judge)
    assert odds[lesion].mean() > 1 > -1 > odds[~lesion].mean()
    assert all(np.array_equal(judge[name], of) for name, of in trained_judge(features, lesion).items())
