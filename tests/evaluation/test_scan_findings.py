"""How the findings of a scan meet its lesions: found, false, first, at each rate."""

from dataclasses import replace

import numpy as np
import pytest
from support.scans import opened

from vae_loc.evaluation.lesions import find_lesions
from vae_loc.evaluation.scan_findings import (
    FINDING_RATES,
    Findings,
    count_findings,
    findings_of,
    scan_findings,
)
from vae_loc.model.network import Model
from vae_loc.scoring.locate import locate
from vae_loc.scoring.score_options import ScoreOptions, Segmentation
from vae_loc.scoring.segmentation import segment
from vae_loc.vocabulary import METHODS

SHAPE = (30, 30, 30)
BRAIN = np.ones(SHAPE, dtype=bool)
MIN_STRENGTHS = {0.1: 9.0, 0.5: 5.0, 2.0: 1.0}


def cube(start, side):
    mask = np.zeros(SHAPE, dtype=bool)
    mask[(slice(start, start + side),) * 3] = True
    return mask


LESION, SPECK, ELSEWHERE = cube(2, 6), cube(15, 2), cube(20, 4)  # of voxels of 8 mm^3: 216, 8 and 64


def met(*findings, truth=LESION | SPECK, brain=BRAIN, min_strengths=None):
    """How findings, pairs of mask and strength from the strongest on, meet an annotation."""
    numbers = np.zeros(SHAPE, dtype=np.uint8)
    for number, (mask, _) in enumerate(findings, start=1):
        numbers[mask] = number
    made = Findings(numbers, tuple(strength for _, strength in findings), min_strengths or MIN_STRENGTHS)
    return scan_findings(made, truth, brain, find_lesions(truth, brain, 8.0), "p")


def test_each_rate_keeps_what_is_strong_enough_for_it():
    of = met((ELSEWHERE, 12.0), (LESION, 6.0), (SPECK, 5.0), (cube(26, 3), 2.0))
    assert {rate: (r.findings, r.false, sum(r.found.values())) for rate, r in of.rates.items()} == {
        0.1: (1, 1, 0),
        0.5: (2, 1, 1),
        2.0: (4, 2, 1),
    }


def test_a_finding_that_touches_a_speck_is_neither_false_nor_a_lesion_found():
    of = met((cube(16, 3), 10.0))
    assert (SPECK & cube(16, 3)).sum() == 1
    assert [(r.findings, r.false, sum(r.found.values())) for r in of.rates.values()] == [(1, 0, 0)] * 3
    assert of.rank is None
    assert sum(of.lesions.values()) == 1


def test_the_rank_is_the_place_of_the_first_finding_that_touches_a_lesion():
    touching = cube(7, 3)
    assert (LESION & touching).sum() == 1
    assert met((ELSEWHERE, 3.0), (SPECK, 2.5), (touching, 2.0)).rank == 3
    assert met((touching, 3.0), (ELSEWHERE, 2.0)).rank == 1
    assert met((ELSEWHERE, 3.0)).rank is None
    assert met().rank is None


def test_dice_is_that_of_the_marked_voxels_inside_the_brain():
    brain = BRAIN.copy()
    brain[:5] = False  # half of the lesion
    half = LESION & brain
    of = met((half, 6.0), (ELSEWHERE, 3.0), truth=LESION, brain=brain)
    assert [r.dice for r in of.rates.values()] == [0.0, 1.0, pytest.approx(2 * 108 / (108 + 108 + 64))]


def test_without_an_annotation_in_the_brain_dice_is_undefined_and_every_finding_false():
    of = met((ELSEWHERE, 6.0), truth=np.zeros(SHAPE, bool))
    assert [(r.dice, r.false) for r in of.rates.values()] == [(None, 0), (None, 1), (None, 1)]
    assert of.rank is None
    assert sum(of.lesions.values()) == 0


@pytest.fixture(scope="module")
def patient(patients, trained):
    """One patient, scored."""
    return locate(opened(patients / "p1_t1.nii.gz"), trained, ScoreOptions(methods=METHODS, force=True))


def test_one_segmentation_gives_the_findings_of_each_rate(patient, trained):
    for method, made in findings_of(patient, trained).items():
        counts = count_findings(made)
        assert tuple(counts) == FINDING_RATES
        assert list(counts.values()) == sorted(counts.values())
        for rate in FINDING_RATES:
            alone = segment(patient, trained, method, Segmentation(false_findings=rate))
            assert [f.strength for f in alone.findings] == list(np.array(made.strengths)[made.kept(rate)])


def without_healthy_findings(model):
    healthy = model.facts.healthy.model_copy(update={"findings": {}})
    facts = model.facts.model_copy(update={"healthy": healthy})
    return Model(replace(model.checkpoint, facts=facts), model.score_terms)


def test_a_model_without_healthy_findings_gives_none(patient, trained):
    assert set(findings_of(patient, trained)) == set(METHODS)
    assert findings_of(patient, without_healthy_findings(trained)) == {}
