"""The scores JSON of a scan."""

import csv
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


def test_the_json_holds_scores_percentiles_and_findings(scores):
    content = json.loads(scores.read_text())
    assert set(content["volume"]) == {f"{n}{s}" for n in ("rec", "kl", "elbo") for s in ("", "_percentile")}
    height_mm = content["slices"][1]["z_mm"] - content["slices"][0]["z_mm"]
    assert height_mm == pytest.approx(3, rel=0.2)  # times the zoom to the template
    assert content["volume"]["rec_percentile"] > 99
    assert content["brain_mask"] == "skull-stripped"
    findings = content["masks"]["rec-error"]["findings"]
    mask = nib.load(scores.with_name("b_t1_desc-recerror_mask.nii.gz"))
    assert mask.get_data_dtype() == np.uint8
    assert sum(f["volume_ml"] for f in findings) == pytest.approx(mask.get_fdata().sum() * 64 / 1000)
    assert np.linalg.norm(np.subtract(findings[0]["peak_ras_mm"], BALL)) < 12
    assert findings[0]["sign"] == "brighter"


def test_table_numbered_mask_and_json_tell_the_same(scores):
    findings = json.loads(scores.read_text())["masks"]["rec-error"]["findings"]
    with open(scores.with_name("b_t1_desc-recerror_dseg.tsv"), newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    numbers = nib.load(scores.with_name("b_t1_desc-recerror_dseg.nii.gz"))
    assert numbers.get_data_dtype() == np.uint8
    assert [int(row["index"]) for row in rows] == [f["number"] for f in findings] == list(range(1, len(rows) + 1))
    for row, finding in zip(rows, findings, strict=True):
        voxels = np.asarray(numbers.dataobj) == finding["number"]
        assert voxels.sum() * 64 / 1000 == pytest.approx(finding["volume_ml"])
        assert voxels[tuple(finding["peak_voxel"])]
        assert (row["sign"], float(row["volume_ml"])) == (
            finding["sign"],
            pytest.approx(finding["volume_ml"], rel=1e-5),
        )
        assert row["words"] == finding["words"]


def test_a_map_without_findings_is_written_with_an_empty_mask_and_table(model_file, tmp_path):
    path = save(tmp_path / "h_t1.nii.gz", phantom(AFFINE, SHAPE)[0], AFFINE)
    said = invoke("segment", path, "-m", model_file, "-o", tmp_path, "--threshold", "1000")
    assert said.exit_code == 0
    assert not nib.load(tmp_path / "h_t1_desc-combi_mask.nii.gz").get_fdata().any()
    assert len((tmp_path / "h_t1_desc-combi_dseg.tsv").read_text().splitlines()) == 1
    assert nib.load(tmp_path / "h_t1_desc-combi_anomaly.nii.gz").get_fdata().any()
    assert "nothing above the threshold" in said.output


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
