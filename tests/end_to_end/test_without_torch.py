"""Scoring needs no torch: not imported where it is installed, not missed where it is not."""

import json
import os
import shutil
import subprocess
import sys

import nibabel as nib
import pytest
from support.marks import full
from support.places import SAMPLES

REFUSE = """
import sys

class Refused:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"torch", "onnx", "onnxscript", "matplotlib"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Refused())
"""


@pytest.fixture
def without_torch(tmp_path):
    """Run vae-loc where torch and what needs it cannot be imported."""
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(REFUSE)

    def run(*arguments):
        environment = os.environ | {"PYTHONPATH": str(folder)}
        command = [sys.executable, "-m", "vae_loc", *map(str, arguments)]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    return run


@pytest.mark.parametrize("command", [full("score"), "segment"])
def test_a_scan_is_scored_where_torch_is_absent(without_torch, scan, small_model, tmp_path, command):
    options = ["-m", small_model, "-o", tmp_path / "out", "--method", "all", "--device", "auto"]
    done = without_torch(command, scan, *options)
    assert done.returncode == 0, done.stderr
    heat = nib.load(tmp_path / "out" / "pat_t1_desc-combi_anomaly.nii.gz").get_fdata()
    assert heat.max() > 0
    versions = json.loads((tmp_path / "out" / "pat_t1_scores.json").read_text())["versions"]
    assert "onnxruntime" in versions


@pytest.mark.full
def test_nothing_heavy_is_imported_where_it_is_installed(scan, tmp_path):
    program = (
        "import sys; from vae_loc.cli.app import app; "
        f"app(['segment', {str(scan)!r}, '-m', 't1', '-o', {str(tmp_path / 'out')!r}], standalone_mode=False); "
        "print(sorted({'torch', 'onnx', 'onnxscript', 'matplotlib', 'scipy.ndimage', 'skimage'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.full
def test_a_whole_head_is_scored_where_torch_is_absent(without_torch, tmp_path):
    shutil.copy(SAMPLES / "IXI012_t1.nii.gz", tmp_path / "head_t1.nii.gz")
    done = without_torch("score", tmp_path / "head_t1.nii.gz", "-o", tmp_path / "out", "-m", "t1")
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "out" / "head_t1_scores.json").read_text())["brain_mask"] == "deepbet"


@pytest.mark.parametrize(("command", "code"), [("train", 2), ("export", 0)])
def test_without_torch_a_model_is_exported_and_training_is_refused_in_one_line(
    without_torch, healthy_folder, tmp_path, command, code
):
    of = "t1" if command == "export" else healthy_folder
    done = without_torch(command, of, "-o", tmp_path / ("m.onnx" if command == "export" else "m.safetensors"))
    assert done.returncode == code
    assert "Traceback" not in done.stderr
    assert code == 0 or (done.stderr.count("\n"), "pip install torch" in done.stderr) == (1, True)


def test_a_gpu_without_torch_is_refused_in_one_line(without_torch, scan, tmp_path):
    done = without_torch("score", scan, "-o", tmp_path / "out", "-m", "t1", "--device", "cuda")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
