"""Bad input: one line that names the file, exit 4, nothing written."""

import gzip

import nibabel as nib
import numpy as np
import pytest
from support.commands import run
from support.phantoms import AFFINE, SHAPE, phantom, save


def good(path):
    return save(path, phantom(AFFINE, SHAPE)[0], AFFINE)


def make(kind, path):
    """Write the bad scan of a kind."""
    if kind == "missing":
        return
    if kind == "text":
        path.write_text("not a scan\n" * 50)
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind in ("truncated", "crc", "cut trailer"):
        raw = bytearray(good(path).read_bytes())
        if kind == "crc":
            raw[-6] ^= 1
        path.write_bytes(raw[: {"truncated": len(raw) // 2, "cut trailer": len(raw) - 4}.get(kind, len(raw))])
    elif kind == "short":
        raw = gzip.decompress(good(path).read_bytes())
        path.write_bytes(gzip.compress(raw[:-1]))
    elif kind == "4D":
        save(path, np.stack([phantom(AFFINE, SHAPE)[0]] * 3, -1), AFFINE)
    elif kind == "RGB":
        save(path, np.zeros(SHAPE, [("R", "u1"), ("G", "u1"), ("B", "u1")]), AFFINE)
    elif kind == "singular":
        image = nib.Nifti1Image(phantom(AFFINE, SHAPE)[0], None)
        image.header["sform_code"] = 1
        image.header["srow_x"], image.header["srow_y"], image.header["srow_z"] = (
            [3, 0, 0, 0],
            [3, 0, 0, 0],
            [0, 0, 3, 0],
        )
        nib.save(image, path)
    else:
        fill = {"zero": 0, "constant": 7, "NaN": np.nan, "complex": 1j}[kind]
        save(path, np.full(SHAPE, fill, np.complex64 if kind == "complex" else np.float32), AFFINE)


KINDS = {
    "missing": "No such file",
    "text": "found text",
    "empty": "an empty file",
    "truncated": "damaged",
    "crc": "damaged",
    "cut trailer": "damaged",
    "short": "cut off",
    "4D": "--volume",
    "RGB": "expected integer or float voxels",
    "complex": "complex64",
    "singular": "affine",
    "zero": "every voxel is 0",
    "constant": "every voxel is 7",
    "NaN": "are NaN",
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_bad_scan_is_refused_in_one_line(kind, tmp_path, model_file, monkeypatch, capsys):
    path = tmp_path / "bad scan_t1.nii.gz"
    make(kind, path)
    output = tmp_path / "out"
    code, said = run(monkeypatch, capsys, "segment", path, "-m", model_file, "-o", output)
    assert code == 4
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert "bad scan_t1.nii.gz" in said.err
    assert KINDS[kind] in said.err
    assert not output.exists()


def test_a_mask_of_another_shape_is_refused(tmp_path, scan, model_file, monkeypatch, capsys):
    save(tmp_path / "m.nii.gz", np.ones((5, 6, 7), np.uint8), AFFINE)
    code, said = run(monkeypatch, capsys, "score", scan, "-m", model_file, "--brain-mask", tmp_path / "m.nii.gz")
    assert code == 4
    assert "expected a mask of shape (40, 46, 36)" in said.err


def test_one_bad_scan_among_many_does_not_stop_the_others(tmp_path, scan, model_file, monkeypatch, capsys):
    (tmp_path / "bad_t1.nii.gz").write_bytes(b"x")
    output = tmp_path / "out"
    code, said = run(monkeypatch, capsys, "score", tmp_path / "bad_t1.nii.gz", scan, "-m", model_file, "-o", output)
    assert code == 3
    assert "bad_t1.nii.gz" in said.err
    assert (output / "pat_t1_scores.json").exists()
    assert not list(output.glob("bad*"))


def test_a_head_without_a_brain_is_never_scored(tmp_path, model_file, monkeypatch, capsys):
    noise = np.random.default_rng(0).normal(100, 10, SHAPE).astype(np.float32)
    path = save(tmp_path / "noise_t1.nii.gz", noise, AFFINE)
    code, said = run(monkeypatch, capsys, "score", path, "-m", model_file, "-o", tmp_path / "out")
    assert code == 4
    assert "--brain-mask FILE" in said.err
