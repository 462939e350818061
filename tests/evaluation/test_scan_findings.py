"""How the findings of a scan meet its lesions: found, false, first, at each rate; made now or read from disk."""

import json
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
from support.commands import invoke
from support.scans import opened

from vae_loc.errors import UnusableInput
from vae_loc.evaluation.lesions import find_lesions
from vae_loc.evaluation.record import Missing
from vae_loc.evaluation.scan_findings import (
    FINDING_RATES,
    Findings,
    count_findings,
    findings_of,
    scan_findings,
    written_findings,
)
from vae_loc.model.network import Model
from vae_loc.results.output_names import FolderNames
from vae_loc.results.scan_summary import read_summary
from vae_loc.scans.volume import read_volume
from vae_loc.scoring.locate import locate
from vae_loc.scoring.segmentation import Segmentation, segment
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
    return locate(opened(patients / "p1_t1.nii.gz"), trained, methods=METHODS)


def test_one_segmentation_gives_the_findings_of_each_rate(patient, trained):
    for method, made in findings_of(patient, trained).items():
        counts = count_findings(made)
        assert tuple(counts) == FINDING_RATES
        assert list(counts.values()) == sorted(counts.values())
        for rate in FINDING_RATES:
            alone = segment(patient, trained, method, Segmentation(false_findings=rate))
            assert [f.strength for f in alone.findings] == list(np.array(made.strengths)[made.kept(rate)])


def without_healthy_findings(model):
    healthy = model.facts.healthy.model_copy(update={"findings": None})
    facts = model.facts.model_copy(update={"healthy": healthy})
    return Model(replace(model.checkpoint, facts=facts), model.score_terms)


def test_a_model_without_healthy_findings_has_a_reason_instead(patient, trained, tmp_path):
    older = without_healthy_findings(trained)
    volume, names = patient.volume, FolderNames(tmp_path, None)
    for made in (findings_of(patient, older), written_findings(names, volume, None, older, METHODS)):
        assert set(made) == set(METHODS)
        for of in made.values():
            assert isinstance(of, Missing)
            assert "calibrate MODEL --healthy" in of.reason


@pytest.fixture
def written(patients, model_file, trained, tmp_path):
    """Return the findings of Combi that `segment` wrote with some options, after a change of its files."""

    def read(*options, change=lambda folder: None):
        scan = patients / "p1_t1.nii.gz"
        invoke("segment", scan, "-m", model_file, "-o", tmp_path, "-q", *options)
        change(tmp_path)
        names = FolderNames(tmp_path, None)
        summary = read_summary(names.scores(scan))
        return written_findings(names, read_volume(scan), summary, trained, ["combi"])["combi"]

    return read


def test_what_segment_wrote_are_the_findings_made(written, patient, trained):
    found, made = written("--false-findings", 2), findings_of(patient, trained)["combi"]
    assert np.array_equal(found.numbers, made.numbers)
    assert (found.strengths, found.min_strengths) == (made.strengths, made.min_strengths)


def test_written_findings_have_the_rates_up_to_the_one_they_were_written_at(written):
    assert list(written().min_strengths) == [0.05, 0.1]


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--fpr", "0.05"), "made by healthy fpr 0.05, not by --false-findings"),
        (("--threshold", "3"), "made by option, not by --false-findings"),
        (("--false-findings", "0.01"), "at 0.01 false findings, below 0.05"),
        (("--method", "rec-error"), "none lie beside the maps"),
    ],
)
def test_masks_of_another_rule_have_a_reason_instead(written, options, reason):
    assert reason in written(*options).reason


def test_a_numbered_mask_that_is_not_the_listed_one_is_refused(written):
    def change(folder):
        path = folder / "p1_t1_desc-combi_dseg.nii.gz"
        image = nib.load(path)
        numbers = np.asarray(image.dataobj).astype(np.uint8)
        numbers[0, 0, 0] = 200
        nib.save(nib.Nifti1Image(numbers, image.affine, image.header), path)

    with pytest.raises(
        UnusableInput, match=r"desc-combi_dseg\.nii\.gz: expected findings 1 to \d+ as listed, found 200"
    ):
        written("--false-findings", 2, change=change)


def test_maps_without_findings_are_evaluated_by_their_voxels(patients, model_file, tmp_path):
    invoke("score", patients / "p1_t1.nii.gz", "-m", model_file, "-o", tmp_path, "-q")
    options = ["--labels", "{subject}_seg.nii.gz", "-m", model_file, "--maps", tmp_path, "-o", tmp_path / "e"]
    said = invoke("evaluate", patients / "p1_t1.nii.gz", *options).stdout
    record = json.loads((tmp_path / "e/evaluation.json").read_text())
    reason = "none lie beside the maps (--maps); vae-loc segment writes them"
    assert record["findings"]["combi"] == {"value": None, "reason": reason}
    assert record["findings"]["kl-grad"]["reason"] == "no such map among those given (--maps)"
    assert f"No findings of combi: {reason}" in said
    assert record["pixel"]["combi"]["per_subject"]["auroc"]["mean"] > 0.5
