"""Ordinary scans of a site tell what is usual, whoever is ill among them."""

import shutil

import numpy as np
import pytest
from support.commands import invoke
from support.phantoms import AFFINE, BALL, SHAPE, phantom, save
from support.scans import opened

from vae_loc.model.checkpoint import load_checkpoint
from vae_loc.model.network import load_model, ready
from vae_loc.scans.cases import find_cases
from vae_loc.scoring.locate import locate
from vae_loc.scoring.score_options import ScoreOptions
from vae_loc.training.cross_fit import robust
from vae_loc.training.healthy_reference import calibrate_unselected


@pytest.fixture(scope="module")
def small(small_model):
    """`small_model`, ready to score."""
    return load_model(small_model)


@pytest.fixture(scope="module")
def ordinary(healthy_folder):
    """Healthy scans, nothing annotated."""
    return [(case, None) for case in find_cases(sorted(healthy_folder.glob("sub*_t1.nii.gz")))]


def moments_of(values):
    """The moments of brains of two pixels, whose values are given."""
    return [{"residual": np.array([np.ones(2), v, np.square(v)]).reshape(3, 1, 1, 2)} for v in values]


def test_a_lesion_in_a_few_scans_changes_nothing_at_its_place():
    """Median and MAD by place: what one of nine people has there moves neither."""
    rng = np.random.default_rng(0)
    people = [np.array([value, value]) for value in rng.normal(2, 0.5, 9)]
    ill = [*people[:8], people[8] + [40.0 if people[8][0] > 2 else -40.0, 0]]
    (before, after) = (robust(moments_of(of))["residual"] for of in (people, ill))
    assert before[0].tolist() == after[0].tolist() == [[[9, 9]]]
    np.testing.assert_allclose(after[1] / 9, np.median(people), rtol=1e-6)
    np.testing.assert_allclose(after[1], before[1])
    np.testing.assert_allclose(after[2], before[2], rtol=0.2)


def test_places_that_few_scans_have_tell_nothing():
    parts = moments_of([[1.0, 1.0], [2.0, 2.0], [3.0, 3.0], [4.0, 4.0]])
    for part in parts[1:]:
        part["residual"][:, 0, 0, 1] = 0
    assert robust(parts)["residual"][0].tolist() == [[[4, 0]]]
    assert robust(moments_of([[1.0, 1.0]]))["residual"][0].tolist() == [[[0, 0]]]


def test_the_order_of_ordinary_scans_has_no_influence(small, ordinary):
    forward, backward = (calibrate_unselected(small.checkpoint, of) for of in (ordinary, ordinary[::-1]))
    assert forward.digest == backward.digest


def test_the_strongest_candidate_of_an_ordinary_scan_is_left_out(small, ordinary):
    """It may be disease; with its annotation, what touches the annotation is."""
    known = len(small.facts.healthy.findings["combi"].strengths)
    new = calibrate_unselected(small.checkpoint, ordinary).facts.healthy.findings["combi"]
    assert new.kinds == ["ordinary"] * len(ordinary) + ["real"] * known
    for (case, _), kept in zip(ordinary, new.strengths, strict=False):
        assert len(kept) <= 8, case


@pytest.mark.full
def test_one_ill_scan_among_ordinary_ones_changes_no_finding_of_a_healthy_scan(small, ordinary, tmp_path):
    lesion = phantom(AFFINE, SHAPE, ball=BALL, gain=3.0)[0]
    ill = save(tmp_path / "ill_t1.nii.gz", lesion, AFFINE)
    with_ill = [*ordinary[:-1], (find_cases([ill])[0], None)]
    scan = opened(ordinary[-1][0].scan)
    sound, other = (
        locate(scan, ready(calibrate_unselected(small.checkpoint, of)), ScoreOptions()).signed_maps["combi"]
        for of in (ordinary[:-1], with_ill)
    )
    inside = sound != 0
    assert np.quantile(np.abs(sound - other)[inside], 0.99) < 1


def test_annotated_voxels_of_ordinary_scans_are_left_out(patients, small_model, tmp_path):
    """With --labels, no threshold comes of the annotations: they say which voxels do not count."""
    folder = tmp_path / "month"
    folder.mkdir()
    for number in range(3):
        shutil.copy(patients / f"p{number}_t1.nii.gz", folder)
    out, plain = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    shutil.copy(patients / "p0_seg.nii.gz", folder)
    result = invoke("calibrate", small_model, "--unselected", folder, "--labels", "{subject}_seg.nii.gz", "-o", out)
    assert "3 ordinary subjects are too few to tell what is usual at your site; 10 to 30 are needed" in result.stderr
    assert "95 % interval over scans" in result.stderr
    invoke("calibrate", small_model, "--unselected", folder, "-o", plain)
    annotated, unknown = load_checkpoint(out).facts, load_checkpoint(plain).facts
    assert annotated.labelled == load_checkpoint(small_model).facts.labelled
    assert annotated.healthy != unknown.healthy
