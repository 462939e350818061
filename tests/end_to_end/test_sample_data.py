"""The shipped models on the scans that come with them, as README, tutorial and model cards describe them."""

import json
import os
import re

import nibabel as nib
import numpy as np
import pytest
from support.commands import invoke, names
from support.marks import full
from support.phantoms import dice
from support.places import ROOT, SAMPLES

import vae_loc
from vae_loc.model.facts import SCAN_KINDS

pytestmark = pytest.mark.skipif(os.environ.get("SKIP_SHIPPED") == "1", reason="asked to")


def lesion(name):
    return np.asarray(nib.load(SAMPLES / f"{name}_lesions.nii.gz").dataobj) > 0


@pytest.fixture(scope="module")
def stroke(tmp_path_factory):
    """What the README's first command prints, and the folder that it writes into."""
    out = tmp_path_factory.mktemp("readme")
    return invoke("segment", SAMPLES / "crtut_t2.nii.gz", "-o", out).output, out


@pytest.mark.skipif(not (ROOT / "README.md").is_file(), reason="needs a checkout")
def test_the_readme_shows_what_its_first_command_prints_and_writes(stroke):
    printed, out = stroke
    readme = (ROOT / "README.md").read_text()
    (line,) = re.findall(r"```text\n(crtut_t2.*)\n```", readme)
    assert line in printed
    listed = set()
    for cell in re.findall(r"^\| (`crtut_t2_[^|]*) \|", readme, re.M):
        name, *endings = re.findall(r"`([^`]+)`", cell)
        listed |= {name, *(name.partition(".")[0] + ending for ending in endings)}
    assert listed == names(out)


def test_the_stroke_is_the_one_finding_of_its_scan(stroke):
    """As the README shows it: brighter than expected, in the left parietal lobe, with most of the lesion in it."""
    summary = json.loads((stroke[1] / "crtut_t2_scores.json").read_text())
    (finding,) = summary["masks"]["combi"]["findings"]
    assert (finding["sign"], finding["side"], finding["lobe"]) == ("brighter", "left", "parietal lobe")
    assert {finding[f"{kind}_as_strong"] for kind in SCAN_KINDS} <= {0, None}
    mask = np.asarray(nib.load(stroke[1] / "crtut_t2_desc-combi_mask.nii.gz").dataobj) > 0
    assert np.count_nonzero(mask & lesion("crtut")) > 0.5 * np.count_nonzero(lesion("crtut"))


def test_the_painted_mass_is_the_one_finding_of_its_scan():
    """Darker than its surroundings, as it was painted; at commit 37642b5 its Dice was 0.82 (`vae_loc.segment`)."""
    found = vae_loc.segment(SAMPLES / "synthetic-mass_t1.nii.gz")
    (finding,) = found.findings
    assert (finding.sign, finding.place.side) == ("darker", "right")
    assert dice(found.mask, lesion("synthetic-mass")) > 0.75


@pytest.mark.full
def test_a_plaque_of_multiple_sclerosis_is_the_strongest_finding_on_flair():
    found = vae_loc.segment(SAMPLES / "patient07_flair.nii.gz")
    assert found.findings[0].sign == "brighter"
    affine = nib.load(SAMPLES / "patient07_flair.nii.gz").affine
    i, j, k = np.rint(np.linalg.inv(affine) @ [*found.findings[0].peak_ras_mm, 1])[:3].astype(int)
    assert lesion("patient07")[i, j, k]


@pytest.mark.parametrize("scan", [full("IXI012_t1"), "IXI013_t1", full("IXI014_t1"), full("patient07_t1")])
def test_a_scan_without_visible_disease_has_no_finding(scan):
    """Healthy people, and multiple sclerosis on T1, of which the model card says that it is missed."""
    assert vae_loc.segment(SAMPLES / f"{scan}.nii.gz").findings == ()
