"""The commands do what the README says."""

import json
import os
import subprocess
import sys

import nibabel as nib
import numpy as np
import pytest
from conftest import centred, phantom, save
from typer.testing import CliRunner

from vae_loc.cli.app import app
from vae_loc.vocabulary import METHODS


def run(*arguments):
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    assert result.exit_code == 0, (result.output, result.exception)
    return result.stdout


def test_help_imports_nothing_heavy():
    code = (
        "import sys\nfrom typer.testing import CliRunner\nfrom vae_loc.cli import app\n"
        "assert CliRunner().invoke(app, ['--help']).exit_code == 0\n"
        "print([m for m in ('torch', 'SimpleITK', 'scipy', 'sklearn', 'skimage', 'nibabel') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


def test_segment_writes_maps_masks_scores_and_pictures(tmp_path, model_file, scan):
    listed = run("segment", scan, "-m", model_file, "-o", tmp_path / "out", "--method", "all").split()
    names = {method.replace("-", "") for method in METHODS}
    expected = {f"pat_t1_desc-{n}_{kind}" for n in names for kind in ("anomaly.nii.gz", "anomaly.png", "mask.nii.gz")}
    assert {p.name for p in (tmp_path / "out").iterdir()} == expected | {"pat_t1_scores.json"}
    assert sorted(listed) == sorted(str(p) for p in (tmp_path / "out").iterdir())


def test_the_json_holds_scores_percentiles_and_components(tmp_path, model_file):
    shape = (40, 46, 36)
    affine = centred(np.diag([4.0, 4.0, 4.0]), shape)
    ball = (28.0, 12.0, 16.0)
    path = save(tmp_path / "b_t1.nii.gz", phantom(affine, shape, ball=ball, gain=3)[0], affine)
    run("segment", path, "-m", model_file, "-o", tmp_path, "--method", "rec-error", "--fpr", "0.01")
    content = json.loads((tmp_path / "b_t1_scores.json").read_text())
    assert set(content["volume"]) == {f"{n}{s}" for n in ("rec", "kl", "elbo") for s in ("", "_percentile")}
    assert content["slices"][1]["z_mm"] - content["slices"][0]["z_mm"] == pytest.approx(
        3, rel=0.2
    )  # times the zoom to the template
    assert content["volume"]["rec_percentile"] > 99
    assert content["brain_mask"] == "skull-stripped"
    components = content["masks"]["rec-error"]["components"]
    mask = nib.load(tmp_path / "b_t1_desc-recerror_mask.nii.gz")
    assert mask.get_data_dtype() == np.uint8
    assert sum(c["volume_ml"] for c in components) == pytest.approx(mask.get_fdata().sum() * 64 / 1000)
    nearest = min(np.linalg.norm(np.subtract(c["peak_ras_mm"], ball)) for c in components)
    assert nearest < 12


def test_output_may_be_a_file_name(tmp_path, model_file, scan):
    run("score", scan, "-m", model_file, "-o", tmp_path / "o" / "heat.nii.gz")
    assert {p.name for p in (tmp_path / "o").iterdir()} == {"heat.nii.gz", "heat.png", "heat_scores.json"}


def test_scoring_twice_gives_the_same_bytes(tmp_path, model_file, scan):
    for folder in ("a", "b"):
        run("score", scan, "-m", model_file, "-o", tmp_path / folder, "--method", "all")
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes(), path.name


def test_a_threshold_marks_exactly_what_lies_above(tmp_path, model_file, scan):
    run("segment", scan, "-m", model_file, "-o", tmp_path / "o", "--threshold", "0", "--min-size", "0")
    scores = nib.load(tmp_path / "o/pat_t1_desc-combi_anomaly.nii.gz").get_fdata()
    mask = nib.load(tmp_path / "o/pat_t1_desc-combi_mask.nii.gz").get_fdata()
    assert np.array_equal(mask > 0, scores > 0)


def test_json_output_is_one_object(tmp_path, model_file, scan):
    said = run("score", scan, "-m", model_file, "-o", tmp_path, "--json")
    assert list(json.loads(said)["written"]) == [str(scan)]


def test_quiet_says_nothing(tmp_path, model_file, scan):
    assert run("score", scan, "-m", model_file, "-o", tmp_path, "--quiet") == ""


def test_info_tells_of_the_healthy_thresholds(model_file):
    facts = json.loads(run("info", model_file, "--json"))
    assert facts["latents"] == 8
    assert facts["combi at 1% healthy"] >= facts["combi at 5% healthy"]


def test_the_model_can_come_from_the_environment(tmp_path, model_file, scan, monkeypatch):
    monkeypatch.setenv("VAE_LOC_MODEL", str(model_file))
    run("score", scan, "-o", tmp_path)


def test_a_wrong_option_exits_2():
    assert CliRunner().invoke(app, ["score", "x.nii", "--method", "magic"]).exit_code == 2


def test_a_sibling_mask_is_used(tmp_path, model_file, scan):
    image = nib.load(scan)
    small = (image.get_fdata() > 0) & (np.arange(36) < 18)
    save(tmp_path / "pat_brainmask.nii.gz", small.astype(np.uint8), image.affine)
    run("score", scan, "-m", model_file, "-o", tmp_path / "o")
    assert json.loads((tmp_path / "o/pat_t1_scores.json").read_text())["brain_mask"] == "file"
    assert not nib.load(tmp_path / "o/pat_t1_desc-combi_anomaly.nii.gz").get_fdata()[:, :, 18:].any()


@pytest.mark.skipif(os.environ.get("SKIP_SHIPPED") == "1", reason="asked to")
@pytest.mark.parametrize("scan_name", ["IXI012_t1", "patient07_t1", "synthetic-mass_t1"])
def test_the_shipped_model_segments_the_sample_data(tmp_path, scan_name, request):
    sample = request.config.rootpath / "sample_data" / f"{scan_name}.nii.gz"
    run("segment", sample, "-o", tmp_path)
    assert (tmp_path / f"{scan_name}_desc-combi_mask.nii.gz").exists()
