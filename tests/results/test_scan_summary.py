"""The scores JSON of a scan."""

import json
import shutil

import nibabel as nib
import numpy as np
import pytest
from support.commands import invoke
from support.phantoms import AFFINE, BALL, SHAPE, phantom, save

from vae_loc.errors import UnusableInput
from vae_loc.results.scan_summary import SCHEMA_VERSION, read_summary, read_whole_summary


@pytest.fixture(scope="module")
def scores(model_file, tmp_path_factory):
    """The scores JSON of a brain with a bright ball."""
    folder = tmp_path_factory.mktemp("summary")
    path = save(folder / "b_t1.nii.gz", phantom(AFFINE, SHAPE, ball=BALL, gain=3)[0], AFFINE)
    invoke("segment", path, "-m", model_file, "-o", folder, "--method", "rec-error", "--fpr", "0.01")
    return folder / "b_t1_scores.json"


def test_the_json_holds_scores_percentiles_and_components(scores):
    content = json.loads(scores.read_text())
    assert set(content["volume"]) == {f"{n}{s}" for n in ("rec", "kl", "elbo") for s in ("", "_percentile")}
    height_mm = content["slices"][1]["z_mm"] - content["slices"][0]["z_mm"]
    assert height_mm == pytest.approx(3, rel=0.2)  # times the zoom to the template
    assert content["volume"]["rec_percentile"] > 99
    assert content["brain_mask"] == "skull-stripped"
    components = content["masks"]["rec-error"]["components"]
    mask = nib.load(scores.with_name("b_t1_desc-recerror_mask.nii.gz"))
    assert mask.get_data_dtype() == np.uint8
    assert sum(c["volume_ml"] for c in components) == pytest.approx(mask.get_fdata().sum() * 64 / 1000)
    assert min(np.linalg.norm(np.subtract(c["peak_ras_mm"], BALL)) for c in components) < 12


def test_what_is_read_is_what_was_written_and_states_its_schema(scores):
    summary = read_summary(scores)
    assert summary.schema_version == SCHEMA_VERSION
    assert summary.content() == json.loads(scores.read_text())


def test_a_summary_is_whole_only_with_all_its_files(scores, tmp_path):
    for path in scores.parent.iterdir():
        shutil.copy(path, tmp_path)
    copy = tmp_path / scores.name
    assert read_whole_summary(copy) == read_summary(scores)
    first = next(iter(read_summary(copy).files))
    (tmp_path / first).write_bytes(b"changed")
    assert read_whole_summary(copy) is None
    (tmp_path / first).unlink()
    assert read_whole_summary(copy) is None


@pytest.mark.parametrize("content", ["", "{}", "[]", "null", "\0", '{"files": {}}', "[" * 100_000, "\udcff"])
def test_what_is_no_scores_json_is_refused_by_name(tmp_path, content):
    (tmp_path / "x_scores.json").write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(UnusableInput, match=r"x_scores\.json: "):
        read_summary(tmp_path / "x_scores.json")
