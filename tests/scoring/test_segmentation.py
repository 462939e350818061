"""A mask holds findings: connected, of one sign, large and strong enough, strongest first, in RAS mm."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from vae_loc.model.checkpoint import healthy_threshold
from vae_loc.model.facts import HealthyFindings, Labelled
from vae_loc.model.network import Model
from vae_loc.preprocessing.canonical import CanonicalVolume
from vae_loc.preprocessing.resampling import Grid
from vae_loc.scans.volume import Volume
from vae_loc.scoring.anatomy import atlas
from vae_loc.scoring.score_options import Rule, Segmentation
from vae_loc.scoring.segmentation import segment, signed_on_grid
from vae_loc.vocabulary import METHODS

SHAPE = (8, 9, 10)
SPACING_MM = (2.0, 4.0, 0.5)  # a voxel has 4 mm3
BOX = np.diag([*SPACING_MM, 1.0])
KNOWN = HealthyFindings(
    extent=2.0, strengths=[[3.0 + person, 2.5] for person in range(20)], weights=[1.0] * 20, kinds=["real"] * 20
)


def volume_of(affine=BOX, shape=SHAPE):
    return Volume(np.zeros(shape, np.float32), affine, SimpleNamespace(), Path("a.nii"))


def signed_of(*parts, background=0.0):
    """A map whose parts are lists of voxels, each of 1 plus a tenth of its number."""
    signed = np.full(SHAPE, background, dtype=np.float32)
    for number, voxels in enumerate(parts):
        for voxel in voxels:
            signed[voxel] = 1 + number / 10
    return signed


def row(count, *, j=0, k=0):
    return [(i, j, k) for i in range(count)]


def located_of(signed, *, brain=None, affine=BOX):
    """A scan whose canonical grid is its own, so that a map can be given voxel by voxel."""
    brain = np.ones(signed.shape, bool) if brain is None else brain
    grid = Grid((max(signed.shape),) * 3, affine, 3.0)
    return SimpleNamespace(
        bare=False,
        brain=brain,
        canonical=CanonicalVolume(np.zeros(signed.shape, np.float32), brain, grid),
        frame=lambda method: SimpleNamespace(grid=grid),
        volume=volume_of(affine, signed.shape),
        signed_maps={"combi": signed},
        likeness=None,
        maps={"combi": np.abs(signed) * brain},
    )


def model_of(*, findings=None, labelled=None, template=None, contrast="t1"):
    healthy = None if findings is None else SimpleNamespace(findings={"combi": findings})
    facts = SimpleNamespace(healthy=healthy, labelled=labelled, contrast=contrast)
    return SimpleNamespace(facts=facts, reference={} if template is None else {"template": template})


def segmented(signed, *, brain=None, affine=BOX, threshold=0.5, min_size_mm3=0.0):
    rule = Segmentation(threshold=threshold, min_size_mm3=min_size_mm3)
    return segment(located_of(signed, brain=brain, affine=affine), model_of(), "combi", rule)


@pytest.mark.parametrize("step", [(1, 0, 0), (1, -1, 0), (1, 1, 1), (-1, 1, -1)])
def test_voxels_that_touch_by_a_face_an_edge_or_a_corner_are_one_finding(step):
    result = segmented(signed_of([(3, 3, 3), tuple(np.add((3, 3, 3), step))]))
    assert np.count_nonzero(result.mask) == 2
    assert [finding.volume_ml for finding in result.findings] == pytest.approx([0.008])


@pytest.mark.parametrize("step", [(2, 0, 0), (2, 1, 1), (0, -2, 0)])
def test_voxels_with_one_between_them_are_two_findings(step):
    result = segmented(signed_of([(3, 3, 3), tuple(np.add((3, 3, 3), step))]))
    assert [finding.volume_ml for finding in result.findings] == pytest.approx([0.004, 0.004])


def test_brighter_and_darker_are_two_findings_where_they_touch():
    signed = signed_of(row(3))
    signed[3:6, 0, 0] = -2
    result = segmented(signed)
    assert [(finding.sign, finding.strength) for finding in result.findings] == [("darker", 2.0), ("brighter", 1.0)]
    assert result.numbers[:7, 0, 0].tolist() == [2, 2, 2, 1, 1, 1, 0]


@pytest.mark.parametrize(("min_size_mm3", "kept"), [(8.0, [3, 2]), (8.001, [3]), (4.0, [3, 2, 1]), (12.001, [])])
def test_a_finding_of_the_smallest_size_is_kept_and_one_below_it_is_not(min_size_mm3, kept):
    result = segmented(signed_of(row(1), row(2, j=3), row(3, j=6)), min_size_mm3=min_size_mm3)
    assert [round(finding.volume_ml * 1000 / 4) for finding in result.findings] == kept
    assert np.count_nonzero(result.mask) == sum(kept)


def test_findings_come_strongest_first_and_are_numbered_so_in_the_image():
    signed = signed_of(row(2, k=0), row(4, k=3), row(2, j=4, k=3), row(3, k=8))
    result = segmented(signed)
    assert [finding.number for finding in result.findings] == [1, 2, 3, 4]
    assert [finding.strength for finding in result.findings] == pytest.approx([1.3, 1.2, 1.1, 1.0])
    assert [np.count_nonzero(result.numbers == number) for number in (1, 2, 3, 4)] == [3, 2, 4, 2]
    assert np.array_equal(result.mask, signed > 0)


def test_a_score_at_the_threshold_is_not_marked_and_nothing_outside_the_brain_is():
    signed = signed_of(row(4))
    signed[0, 0, 0] = 0.5
    brain = np.ones(SHAPE, bool)
    brain[3, 0, 0] = False
    result = segmented(signed, brain=brain, threshold=0.5)
    assert np.argwhere(result.mask).tolist() == [[1, 0, 0], [2, 0, 0]]
    assert not segmented(signed, brain=brain, threshold=-1.0).mask[~brain].any()


def test_nothing_above_the_threshold_is_an_empty_mask():
    result = segmented(signed_of(), min_size_mm3=100)
    assert (result.mask.shape, result.mask.any(), result.findings) == (SHAPE, False, ())


def test_peak_and_centroid_are_in_ras_mm_on_an_oblique_grid():
    """The grid is turned by the angle of the 3-4-5 triangle about z: cos 0.8, sin 0.6; voxels of 2 x 5 x 10 mm.

    x = 1.6 i - 3 j + 7,  y = 1.2 i + 4 j - 11,  z = 10 k + 13

    The finding is (1, 2, 3), (2, 2, 3), (2, 3, 3), (3, 3, 4); its mean voxel is (2, 2.5, 3.25).
    centroid: x = 3.2 - 7.5 + 7 = 2.7,  y = 2.4 + 10 - 11 = 1.4,  z = 32.5 + 13 = 45.5
    peak at (2, 3, 3): x = 3.2 - 9 + 7 = 1.2,  y = 2.4 + 12 - 11 = 3.4,  z = 30 + 13 = 43
    volume: 4 voxels of 100 mm3
    """
    affine = np.array([[1.6, -3.0, 0, 7], [1.2, 4.0, 0, -11], [0, 0, 10, 13], [0, 0, 0, 1]])
    signed = signed_of([(1, 2, 3), (2, 2, 3), (2, 3, 3), (3, 3, 4)])
    signed[2, 3, 3] = 4.5
    (finding,) = segmented(signed, affine=affine).findings
    assert finding.centroid_ras_mm == pytest.approx((2.7, 1.4, 45.5))
    assert finding.peak_ras_mm == pytest.approx((1.2, 3.4, 43.0))
    assert (finding.peak_voxel, finding.strength) == ((2, 3, 3), 4.5)
    assert finding.volume_ml == pytest.approx(0.4)


def test_by_default_only_what_few_healthy_people_show_is_a_finding():
    """Of 20 healthy scans with strongest findings of 3, 4, ... 22, one in ten has one above about 20."""
    signed = signed_of()
    signed[1:4, 1, 1], signed[2, 1, 1] = 3.0, 30.0  # strong: its weaker voxels belong to it
    signed[1:4, 6, 6] = 9.0  # half of all healthy people have one as strong
    rule = Segmentation(min_size_mm3=0)
    result = segment(located_of(signed), model_of(findings=KNOWN), "combi", rule)
    (finding,) = result.findings
    assert np.argwhere(result.mask).tolist() == [[1, 1, 1], [2, 1, 1], [3, 1, 1]]
    assert (finding.real_as_strong, finding.real_scans) == (0, 20)
    assert finding.words.endswith("; as strong in 0 of 20 real healthy T1 scans")
    assert finding.false_findings < 0.1
    assert result.rule.false_findings == 0.1
    more = segment(located_of(signed), model_of(findings=KNOWN), "combi", replace(rule, false_findings=0.9))
    assert [finding.real_as_strong for finding in more.findings] == [0, 14]


def test_the_blurred_border_of_a_small_flair_lesion_is_not_marked_and_that_of_a_large_one_is():
    """A voxel has 27 mm3: a lesion of 3 x 3 x 3 is small, one of 14 x 14 x 14 has 74 ml."""
    signed = np.zeros((24, 24, 24), np.float32)
    signed[1:8, 1:8, 1:8], signed[3:6, 3:6, 3:6] = 4.0, 40.0
    rule = Segmentation(min_size_mm3=0)
    small = {
        of: segment(located_of(signed), model_of(findings=KNOWN, contrast=of), "combi", rule) for of in ("t1", "flair")
    }
    assert {of: np.count_nonzero(result.mask) for of, result in small.items()} == {"t1": 7**3, "flair": 3**3}
    signed[1:19, 1:19, 1:19], signed[3:17, 3:17, 3:17] = 4.0, 40.0
    large = segment(located_of(signed), model_of(findings=KNOWN, contrast="flair"), "combi", rule)
    assert np.count_nonzero(large.mask) == 18**3


def test_two_lesions_joined_by_low_values_are_two_findings_and_a_weak_part_belongs_to_the_strong_one():
    signed = np.zeros((24, 8, 8), np.float32)
    signed[1:22, 3:5, 3:5] = 2.5
    signed[2:5, 2:6, 2:6], signed[16:20, 2:6, 2:6] = 30.0, 40.0
    rule = Segmentation(min_size_mm3=0)
    two = segment(located_of(signed), model_of(findings=KNOWN), "combi", rule)
    assert [finding.strength for finding in two.findings] == [40.0, 30.0]
    assert np.count_nonzero(two.mask) == np.count_nonzero(signed)
    signed[2:5, 2:6, 2:6] = 5.0
    one = segment(located_of(signed), model_of(findings=KNOWN), "combi", rule)
    assert [finding.strength for finding in one.findings] == [40.0]
    assert np.count_nonzero(one.mask) == np.count_nonzero(signed)


def test_a_second_lesion_does_not_hide_the_first():
    signed = signed_of()
    signed[1:4, 1, 1] = 30.0
    alone = segment(located_of(signed), model_of(findings=KNOWN), "combi", Segmentation(min_size_mm3=0))
    signed[1:4, 6, 6] = -60.0
    both = segment(located_of(signed), model_of(findings=KNOWN), "combi", Segmentation(min_size_mm3=0))
    assert both.findings[1] == alone.findings[0].model_copy(update={"number": 2})


def test_a_finding_is_named_by_the_atlas():
    """The left caudate's head is planted on the mean brain; the right one has the mirrored place."""
    template, pixel = atlas().mean_brain, atlas().pixel_mm
    for label, side in ((37, "left"), (36, "right")):
        signed = np.zeros(template.shape, np.float32)
        signed[atlas().labels == label] = -5.0
        affine = np.diag([pixel, pixel, pixel, 1.0])
        located = located_of(signed, affine=affine)
        (finding, *_) = segment(located, model_of(template=template), "combi", Segmentation(threshold=1.0)).findings
        assert (finding.place.side, finding.place.region, finding.sign) == (side, "caudate nucleus", "darker")
        assert finding.symmetric is False


def test_the_same_finding_on_both_sides_is_flagged_and_without_a_mean_brain_no_flag_is_known():
    template, pixel = atlas().mean_brain, atlas().pixel_mm
    signed = np.where(np.isin(atlas().labels, (36, 37)), np.float32(-5), np.float32(0))
    located = located_of(signed, affine=np.diag([pixel, pixel, pixel, 1.0]))
    rule = Segmentation(threshold=1.0)
    for finding in segment(located, model_of(template=template), "combi", rule).findings[:2]:
        assert (finding.symmetric, finding.fluid, finding.edge) == (True, None, False)
    (finding, *_) = segment(located, model_of(), "combi", rule).findings
    assert (finding.symmetric, finding.fluid, finding.edge) == (None, None, None)


@pytest.fixture(scope="module")
def labelled(trained):
    """The model with thresholds of annotated subjects."""
    thresholds = {method: 7.0 + number for number, method in enumerate(METHODS)}
    dice = dict.fromkeys(METHODS, (0.5, 0.1))
    facts = Labelled(thresholds=thresholds, dice=dice, calibration_subjects=3, reported_subjects=12, folds=1, seed=0)
    checkpoint = replace(trained.checkpoint, facts=trained.facts.model_copy(update={"labelled": facts}))
    return Model(checkpoint, trained.score_terms)


def test_what_is_given_counts_first_then_the_labelled_threshold_then_healthy_findings(trained, labelled):
    def threshold(model, **given):
        rule = Segmentation(**given).rule(model, "kl-grad", bare=False)
        return rule.threshold, rule.source

    by_fpr = healthy_threshold(trained.checkpoint, "kl-grad", 0.01), "healthy fpr 0.01"
    assert threshold(labelled, threshold=2.5) == (2.5, "option")
    assert threshold(labelled, fpr=0.01) == by_fpr
    assert threshold(labelled) == (8.0, "labelled calibration on 3 subjects")
    extent = trained.facts.healthy.findings["kl-grad"].extent
    assert threshold(labelled, false_findings=2) == (extent, "2 false findings per healthy scan")
    assert threshold(trained) == (extent, "1 false findings per healthy scan")


@pytest.mark.parametrize(("scans", "default"), [(72, 0.1), (10, 0.1), (9, 1 / 9), (4, 0.25)])
def test_by_default_no_fewer_false_findings_are_promised_than_the_model_s_scans_can_tell(scans, default):
    kinds = ["ordinary"] * scans + ["simulated"] * 67
    strengths = [[4.0 + number, 3.0] for number in range(len(kinds))]
    known = HealthyFindings(extent=2.0, strengths=strengths, weights=[1.0] * len(kinds), kinds=kinds)
    rule = Segmentation().rule(model_of(findings=known), "combi", bare=False)
    assert (rule.false_findings, rule.told_by, rule.source) == (
        default,
        scans,
        f"{default:.3g} false findings per healthy scan",
    )
    rarer = Segmentation(false_findings=0.001).rule(model_of(findings=known), "combi", bare=False)
    assert rarer.source == f"0.001 false findings per healthy scan, extrapolated beyond its {scans} scans"
    assert rarer.false_findings == 1 / scans
    assert rarer.min_strength > rule.min_strength


def test_bare_scores_and_models_without_healthy_findings_take_a_share_of_healthy_voxels(trained, labelled):
    bare = Segmentation().rule(labelled, "combi", bare=True)
    assert bare.threshold == healthy_threshold(labelled.checkpoint, "combi", 0.05, raw=True)
    healthy = trained.facts.healthy.model_copy(update={"findings": {}})
    older = Model(replace(trained.checkpoint, facts=trained.facts.model_copy(update={"healthy": healthy})), None)
    rule = Segmentation().rule(older, "combi", bare=False)
    assert (rule.min_strength, rule.source) == (0.0, "healthy fpr 0.05")


def on_finer_grid(*, bright_beside=True):
    """A candidate of one pixel, and voxels of half its edge: one in it, one whose nearest pixel is the next one."""
    signed = np.zeros((8, 8, 8), np.float32)
    signed[3, 3, 3] = 5
    signed[4, 3, 3] = 0.9 if bright_beside else -0.9  # not beyond the extent
    heat = np.zeros((16, 16, 16), np.float32)
    heat[6, 6, 6], heat[7, 6, 6] = 5, 1.2
    located = located_of(heat, affine=np.diag([0.5, 0.5, 0.5, 1.0]))
    located.frame = lambda method: SimpleNamespace(grid=Grid(signed.shape, np.eye(4), 1.0))
    located.signed_maps = {"combi": signed}
    return located


def beyond(located, *, min_strength):
    """Segment by an extent of 1 and a least strength."""
    given = SimpleNamespace(rule=lambda *_, bare: Rule(1.0, min_strength, "given"), min_size_mm3=0.0)
    return segment(located, model_of(), "combi", given)


def test_a_voxel_between_a_candidate_and_the_next_pixel_is_of_the_candidate():
    assert np.argwhere(beyond(on_finer_grid(), min_strength=2.0).mask).tolist() == [[6, 6, 6], [7, 6, 6]]


def test_a_voxel_beside_a_candidate_that_has_the_other_sign_is_not_of_it():
    found = beyond(on_finer_grid(bright_beside=False), min_strength=2.0)
    assert np.argwhere(found.mask).tolist() == [[6, 6, 6]]


@pytest.mark.parametrize(("min_strength", "count"), [(4.99, 1), (5.0, 0)])
def test_a_candidate_must_be_stronger_than_the_least_strength(min_strength, count):
    assert len(beyond(on_finer_grid(), min_strength=min_strength).findings) == count


def test_a_map_on_the_scan_s_grid_keeps_its_sign_beyond_a_value():
    signed = signed_of(row(2), row(2, j=3))
    signed[5, 5, 5] = -3
    expected = np.where(np.abs(signed) > 1, signed, 0)
    assert np.array_equal(signed_on_grid(located_of(signed), "combi", beyond=1.0), expected)
