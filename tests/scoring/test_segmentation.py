"""A mask holds what is above the threshold, in components that are large enough, each at its place in RAS mm."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from vae_loc.model.checkpoint import healthy_threshold
from vae_loc.model.facts import Labelled
from vae_loc.model.network import Model
from vae_loc.scans.volume import Volume
from vae_loc.scoring.segmentation import Segmentation, ignored_fpr, threshold_map
from vae_loc.vocabulary import METHODS

SHAPE = (8, 9, 10)
SPACING_MM = (2.0, 4.0, 0.5)  # a voxel has 4 mm3
BOX = np.diag([*SPACING_MM, 1.0])


def volume_of(affine=BOX):
    return Volume(np.zeros(SHAPE, np.float32), affine, SimpleNamespace(), Path("a.nii"))


def scores_of(*components, background=0.0):
    """A map whose components are lists of voxels, each of 1 plus a tenth of its number."""
    scores = np.full(SHAPE, background, dtype=np.float32)
    for number, voxels in enumerate(components):
        for voxel in voxels:
            scores[voxel] = 1 + number / 10
    return scores


def row(count, *, j=0, k=0):
    return [(i, j, k) for i in range(count)]


def segmented(scores, *, brain=None, affine=BOX, threshold=0.5, min_size_mm3=0.0):
    brain = np.ones(SHAPE, bool) if brain is None else brain
    return threshold_map(scores, volume_of(affine), brain, threshold=threshold, min_size_mm3=min_size_mm3)


@pytest.mark.parametrize("step", [(1, 0, 0), (1, -1, 0), (1, 1, 1), (-1, 1, -1)])
def test_voxels_that_touch_by_a_face_an_edge_or_a_corner_are_one_component(step):
    mask, components = segmented(scores_of([(3, 3, 3), tuple(np.add((3, 3, 3), step))]))
    assert np.count_nonzero(mask) == 2
    assert [component.volume_ml for component in components] == pytest.approx([0.008])


@pytest.mark.parametrize("step", [(2, 0, 0), (2, 1, 1), (0, -2, 0)])
def test_voxels_with_one_between_them_are_two_components(step):
    _, components = segmented(scores_of([(3, 3, 3), tuple(np.add((3, 3, 3), step))]))
    assert [component.volume_ml for component in components] == pytest.approx([0.004, 0.004])


@pytest.mark.parametrize(("min_size_mm3", "kept"), [(8.0, [3, 2]), (8.001, [3]), (4.0, [3, 2, 1]), (12.001, [])])
def test_a_component_of_the_smallest_size_is_kept_and_one_below_it_is_not(min_size_mm3, kept):
    mask, components = segmented(scores_of(row(1), row(2, j=3), row(3, j=6)), min_size_mm3=min_size_mm3)
    assert [round(component.volume_ml * 1000 / 4) for component in components] == kept
    assert np.count_nonzero(mask) == sum(kept)


def test_components_come_largest_first_and_equal_ones_by_their_first_voxel():
    scores = scores_of(row(2, k=0), row(4, k=3), row(2, j=4, k=3), row(3, k=8))
    mask, components = segmented(scores)
    assert [component.label for component in components] == [1, 2, 3, 4]
    assert [round(component.volume_ml * 250) for component in components] == [4, 3, 2, 2]
    assert [component.peak for component in components] == pytest.approx([1.1, 1.3, 1.0, 1.2])
    assert np.array_equal(mask, scores > 0)


def test_a_score_at_the_threshold_is_not_marked_and_nothing_outside_the_brain_is():
    scores = scores_of(row(4))
    scores[0, 0, 0] = 0.5
    brain = np.ones(SHAPE, bool)
    brain[3, 0, 0] = False
    mask, (component,) = segmented(scores, brain=brain)
    assert np.argwhere(mask).tolist() == [[1, 0, 0], [2, 0, 0]]
    assert component.volume_ml == pytest.approx(0.008)


def test_nothing_above_the_threshold_is_an_empty_mask():
    mask, components = segmented(scores_of(), min_size_mm3=100)
    assert (mask.shape, mask.dtype, mask.any(), components) == (SHAPE, bool, False, [])


def test_peak_and_centroid_are_in_ras_mm_on_an_oblique_grid():
    """The grid is turned by the angle of the 3-4-5 triangle about z: cos 0.8, sin 0.6; voxels of 2 x 5 x 10 mm.

    x = 1.6 i - 3 j + 7,  y = 1.2 i + 4 j - 11,  z = 10 k + 13

    The component is (1, 2, 3), (2, 2, 3), (2, 3, 3), (3, 3, 4); its mean voxel is (2, 2.5, 3.25).
    centroid: x = 3.2 - 7.5 + 7 = 2.7,  y = 2.4 + 10 - 11 = 1.4,  z = 32.5 + 13 = 45.5
    peak at (2, 3, 3): x = 3.2 - 9 + 7 = 1.2,  y = 2.4 + 12 - 11 = 3.4,  z = 30 + 13 = 43
    volume: 4 voxels of 100 mm3
    """
    affine = np.array([[1.6, -3.0, 0, 7], [1.2, 4.0, 0, -11], [0, 0, 10, 13], [0, 0, 0, 1]])
    scores = scores_of([(1, 2, 3), (2, 2, 3), (2, 3, 3), (3, 3, 4)])
    scores[2, 3, 3] = 4.5
    _, (component,) = segmented(scores, affine=affine)
    assert component.centroid_ras_mm == pytest.approx((2.7, 1.4, 45.5))
    assert component.peak_ras_mm == pytest.approx((1.2, 3.4, 43.0))
    assert component.peak == 4.5
    assert component.volume_ml == pytest.approx(0.4)


@pytest.fixture(scope="module")
def labelled(trained):
    """The model with thresholds of annotated subjects."""
    thresholds = {method: 7.0 + number for number, method in enumerate(METHODS)}
    dice = dict.fromkeys(METHODS, (0.5, 0.1))
    facts = Labelled(thresholds=thresholds, dice=dice, calibration_subjects=3, reported_subjects=12, folds=1, seed=0)
    checkpoint = replace(trained.checkpoint, facts=trained.facts.model_copy(update={"labelled": facts}))
    return Model(checkpoint, trained.score_terms)


def test_the_threshold_given_counts_first_then_the_labelled_then_the_healthy_one(trained, labelled):
    checkpoint = trained.checkpoint
    given, by_fpr, default = Segmentation(2.5, 0.01, 0), Segmentation(None, 0.01, 0), Segmentation(None, None, 0)
    assert given.applied(labelled, "kl-grad", bare=False) == (2.5, "option")
    assert by_fpr.applied(labelled, "kl-grad", bare=False) == (8.0, "labelled calibration on 3 subjects")
    healthy = healthy_threshold(checkpoint, "kl-grad", 0.01), "healthy fpr 0.01"
    assert by_fpr.applied(trained, "kl-grad", bare=False) == healthy
    usual = healthy_threshold(checkpoint, "combi", 0.05), "healthy fpr 0.05"
    assert default.applied(trained, "combi", bare=False) == usual


def test_bare_scores_have_healthy_thresholds_of_their_own(labelled):
    found = Segmentation(None, 0.05, 0).applied(labelled, "combi", bare=True)
    assert found == (healthy_threshold(labelled.checkpoint, "combi", 0.05, raw=True), "healthy fpr 0.05")


@pytest.mark.parametrize(
    ("threshold", "fpr", "calibrated", "told"),
    [(None, 0.01, True, True), (None, 0.01, False, False), (3.0, 0.01, True, False), (None, None, True, False)],
)
def test_an_fpr_without_effect_is_said(trained, labelled, threshold, fpr, calibrated, told):
    notes = ignored_fpr(Segmentation(threshold, fpr, 0), labelled if calibrated else trained)
    assert bool(notes) == told
