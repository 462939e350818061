"""The notebook of the docs runs, and the outputs that it keeps are those of a run."""

import json
import re
import sys

import pytest
from support.places import ROOT

sys.path.insert(0, str(ROOT / "docs"))
notebook_page = pytest.importorskip("notebook_page", reason="needs a checkout")

NUMBER = re.compile(r"\d+(?:\.\d+)?")


@pytest.fixture(scope="module")
def notebook():
    content = json.loads(notebook_page.NOTEBOOK.read_text())
    assert content["nbformat"] == 4
    return content


def outputs(notebook):
    """Return the outputs of the cells of code: the words without their numbers, the numbers, the kinds."""
    kept = [output for cell in notebook["cells"] for output in cell.get("outputs", [])]
    texts = ["".join(output.get("text", output.get("data", {}).get("text/plain", []))) for output in kept]
    kinds = [list(output.get("data", ["text"])) for output in kept]
    return [NUMBER.sub("_", text) for text in texts], [float(n) for text in texts for n in NUMBER.findall(text)], kinds


@pytest.mark.full
def test_the_outputs_kept_are_those_of_a_run(notebook):
    """If not: `python docs/notebook_page.py` stores them anew."""
    kept, made = outputs(notebook), outputs(notebook_page.ran(notebook))
    assert kept[0] == made[0]
    assert kept[1] == pytest.approx(made[1], rel=0.02)
    assert kept[2] == made[2]


def test_it_shows_findings_a_picture_and_the_files(notebook):
    words, _, kinds = outputs(notebook)
    assert any("left parietal lobe" in text for text in words)
    assert any("dseg.nii.gz" in text for text in words)
    assert ["image/jpeg", "text/plain"] in kinds


def test_cells_and_outputs_are_on_the_page_in_their_order(notebook):
    text, pictures = notebook_page.page(notebook)
    marks = ("import vae_loc", "<ScanResult crtut_t2", "for finding in", "left parietal", "found.plot()", *pictures)
    places = [text.index(mark) for mark in marks]
    assert places == sorted(places)
    assert [picture[:3] for picture in pictures.values()] == [b"\xff\xd8\xff"]
