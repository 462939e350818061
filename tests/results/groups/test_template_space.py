"""Outputs in the space of the template: one grid for all people, on which a voxel is the same place in each head."""

import json

import nibabel as nib
import numpy as np
import pytest
from nibabel.affines import apply_affine
from support.commands import invoke, names, rows
from support.phantoms import AFFINE, BALL, SHAPE, phantom, save

from vae_loc.results.groups.template_space import GRID

PART = "space-MNI152NLin2009aSym_desc-"
MAPS, MASKS = ("aligned_scan", "combi_anomaly", "combi_percentile"), ("combi_mask", "combi_dseg")
KINDS = dict.fromkeys(MAPS, "<f4") | dict.fromkeys(MASKS, "u1")
MOVED = nib.affines.from_matvec(nib.eulerangles.euler2mat(z=0.1), (12, -20, 9))  # mm: a head that lies otherwise
VOXEL_MM = 4.0  # of the scans


@pytest.fixture(scope="module")
def cohort(tmp_path_factory, model_file):
    """Ann with a lesion, the same head after `MOVED`, and Bob without."""
    folder = tmp_path_factory.mktemp("template")
    (folder / "in").mkdir()
    head = phantom(AFFINE, SHAPE, ball=BALL, radius_mm=16, gain=2.5)[0]
    save(folder / "in" / "ann_t1.nii.gz", head, AFFINE)
    save(folder / "in" / "moved_t1.nii.gz", head, MOVED @ AFFINE)
    save(folder / "in" / "bob_t1.nii.gz", phantom(AFFINE, SHAPE, seed=0.2)[0], AFFINE)
    segment(folder, model_file, jobs=1)
    return folder


def segment(folder, model, *, jobs):
    options = ["--template-space", "--percentile", "--quiet"]
    invoke("segment", folder / "in", "-m", model, "-o", folder / str(jobs), "--jobs", jobs, *options)


def there(cohort, name, kind):
    return nib.load(cohort / "1" / f"{name}_t1_{PART}{kind}.nii.gz")


def way_mm(cohort, name):
    return np.array(json.loads((cohort / "1" / f"{name}_t1_scores.json").read_text())["ras2mni_mm"])


def test_a_lesion_is_at_the_same_voxel_however_the_head_lies(cohort):
    lesion_mm = apply_affine(way_mm(cohort, "ann"), BALL)
    assert np.linalg.norm(lesion_mm - apply_affine(way_mm(cohort, "moved") @ MOVED, BALL)) < VOXEL_MM
    voxel = tuple(np.rint(apply_affine(np.linalg.inv(GRID.affine), lesion_mm)).astype(int))
    marked = {name: there(cohort, name, "combi_mask").get_fdata()[voxel] for name in ("ann", "moved", "bob")}
    assert marked == {"ann": 1, "moved": 1, "bob": 0}
    for kind in ("combi_anomaly", "aligned_scan"):
        value = {name: there(cohort, name, kind).get_fdata()[voxel] for name in marked}
        assert value["bob"] < 0.5 * min(value["ann"], value["moved"])
    scan = {name: there(cohort, name, "aligned_scan").get_fdata()[voxel] for name in ("ann", "moved")}
    assert scan["ann"] == pytest.approx(scan["moved"], rel=0.02)


def test_a_finding_of_the_table_lies_at_its_mm_of_the_template(cohort):
    (row, *_) = (line.split("\t") for line in (cohort / "1" / "findings.tsv").read_text().splitlines()[1:])
    head = (cohort / "1" / "findings.tsv").read_text().splitlines()[0].split("\t")
    cells = dict(zip(head, row, strict=True))
    peak_mm = [float(cells[f"mni_{axis}_mm"]) for axis in "xyz"]
    voxel = np.rint(apply_affine(np.linalg.inv(GRID.affine), peak_mm)).astype(int)
    numbers = there(cohort, cells["subject"], "combi_dseg").get_fdata()
    assert int(cells["number"]) in numbers[tuple(slice(at - 1, at + 2) for at in voxel)]


def test_all_people_are_on_the_grid_of_the_template_and_the_header_says_so(cohort):
    for name in ("ann", "moved", "bob"):
        for kind, stored in KINDS.items():
            image = there(cohort, name, kind)
            assert (image.shape, image.get_data_dtype()) == ((99, 117, 95), np.dtype(stored))
            assert np.array_equal(image.affine, [[2, 0, 0, -98], [0, 2, 0, -134], [0, 0, 2, -72], [0, 0, 0, 1]])
            assert np.array_equal(image.get_qform(), image.affine)
            assert (image.header["sform_code"], image.header["qform_code"]) == (4, 4)


@pytest.mark.full
def test_two_processes_write_the_same_bytes(cohort, model_file):
    segment(cohort, model_file, jobs=2)
    made = {name for name in names(cohort / "1") if PART in name}
    assert len(made) == 3 * len(KINDS)
    for name in made:
        assert (cohort / "1" / name).read_bytes() == (cohort / "2" / name).read_bytes(), name


def test_a_scan_whose_alignment_is_not_sure_is_said_to_have_none_and_is_skipped_later(tmp_path, small_model):
    half = phantom(AFFINE, SHAPE)[0]
    half[:, :, : SHAPE[2] // 2] = 0
    scans = [save(tmp_path / f"{name}_t1.nii.gz", half, AFFINE) for name in ("a", "b")]
    arguments = ["score", *scans, "-m", small_model, "-o", tmp_path / "out", "--template-space", "--jobs", "1"]
    said = invoke(*arguments).stderr
    line = "b_t1.nii.gz: it has no sure place in MNI152NLin2009aSym: nothing is written there"
    assert line in " ".join(said.split())
    assert not [name for name in names(tmp_path / "out") if PART in name]
    invoke(*arguments, "--skip-existing")
    assert {row["status"] for row in rows(tmp_path / "out" / "cohort.csv")} == {"skipped"}


def test_one_file_of_a_map_has_its_other_space_beside_it(tmp_path, small_model, scan):
    invoke("score", scan, "-m", small_model, "-o", tmp_path / "out" / "map.nii.gz", "--template-space")
    beside = {name for name in names(tmp_path / "out") if "MNI" in name}
    assert beside == {f"map_space-MNI152NLin2009aSym_{kind}.nii.gz" for kind in ("anomaly", "scan")}
