"""A result in Python: findings, masks, figure and files as the commands make them."""

import io
import sys

import numpy as np
import pytest
from PIL import Image
from support.commands import invoke
from support.phantoms import AFFINE, BALL, SHAPE, phantom, save

import vae_loc
from vae_loc.errors import UnusableInput, UnusableOption


@pytest.fixture(scope="module")
def ball(tmp_path_factory):
    """A phantom with a bright ball."""
    path = tmp_path_factory.mktemp("ball") / "pat_t1.nii.gz"
    return save(path, phantom(AFFINE, SHAPE, ball=BALL, gain=3)[0], AFFINE)


@pytest.fixture(scope="module")
def found(ball, model_file):
    return vae_loc.localize(ball, model=model_file, methods=["combi", "rec-error"])


def test_what_is_saved_is_what_the_command_writes(tmp_path, ball, model_file):
    options = ["--fpr", "0.02", "--report", "--percentile", "--template-space"]
    invoke("segment", ball, "-m", model_file, "-o", tmp_path / "command", *options)
    found = vae_loc.localize(ball, model=model_file)
    written = found.save(tmp_path / "python", fpr=0.02, report=True, percentile=True, template_space=True)
    made = {path.name: path.read_bytes() for path in (tmp_path / "command").iterdir()}
    assert {path.name: path.read_bytes() for path in written} == made


def test_the_mask_is_that_of_the_findings(found):
    segmented = found.segment(fpr=0.01)
    assert np.array_equal(found.mask(fpr=0.01), segmented.numbers > 0)
    assert found.mask("rec-error", threshold=1e9).sum() == 0
    assert found.findings == found.segment("combi").findings


def test_a_map_that_was_not_scored_is_named(found):
    with pytest.raises(UnusableOption, match=r"combi, rec-error.*kl-grad"):
        found.mask("kl-grad")


def test_a_result_is_one_line_that_names_scan_model_and_maps(found):
    assert repr(found) == "<ScanResult pat_t1.nii.gz: combi, rec-error by model t1, no warnings>"
    for part in (found.volume, found.segment(fpr=0.01)):
        assert "\n" not in repr(part)


def test_the_figure_shows_scan_map_and_outline_of_each_finding(found):
    segmented = found.segment(fpr=0.01)
    figure = found.plot(segmented=segmented)
    rows = min(3, len(segmented.findings))
    assert rows >= 1
    pictures = [axes for axes in figure.axes if axes.images]
    assert [len(axes.images) for axes in pictures[:3]] == [1, 1, 2]
    assert len(pictures) == 3 * rows
    assert pictures[2].collections  # the outline
    assert not pictures[0].collections
    assert "ml" in pictures[0].get_ylabel()
    # the numbers stand on black, and below the last picture no more than a twentieth is empty
    numbered = {text.get_text().strip(): text.get_bbox_patch().get_facecolor()[:3] for text in pictures[2].texts}
    assert numbered["1"] == (0, 0, 0)
    with Image.open(io.BytesIO(figure._repr_png_())) as drawn:
        inked = np.flatnonzero((np.asarray(drawn.convert("L")) < 255).any(axis=1))
        assert inked.max() > 0.95 * drawn.height


def test_a_notebook_shows_the_figure_as_a_picture(found):
    assert found.plot()._repr_png_().startswith(b"\x89PNG")


def test_the_map_of_the_figure_is_warm_where_the_scan_is_bright(found):
    segmented = found.segment(fpr=0.01)
    picture = found.plot(segmented=segmented).axes[1].images[0]
    assert segmented.findings[0].sign == "brighter"
    assert picture.get_array().max() == pytest.approx(segmented.findings[0].strength, rel=0.2)
    assert picture.norm.vmin == -picture.norm.vmax


def test_the_figure_of_a_scan_without_findings_is_its_middle(found):
    figure = found.plot(segmented=found.segment(threshold=1e9))
    assert len([axes for axes in figure.axes if axes.images]) == 3
    assert "no finding" in figure.axes[0].get_ylabel()


def test_without_matplotlib_a_figure_says_what_to_install(found, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(UnusableOption, match="pip install matplotlib"):
        found.plot()


def test_saving_never_replaces_the_scan(ball, found):
    before = ball.read_bytes()
    (ball.parent / "pat_t1_scores.json").write_text("mine")
    with pytest.raises(UnusableInput, match="did not write it"):
        found.save(ball.parent)
    assert ball.read_bytes() == before
