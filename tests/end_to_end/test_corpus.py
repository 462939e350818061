"""Every case of the corpus through the command line: exit code, one line, nothing left, inputs unchanged."""

import hashlib
import os
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from support.commands import run
from support.corpus import AFFINE, CASES, GOOD, INSIDE, changed, raw_scan
from support.marks import some

IDS = [case.name for case in CASES]
ACCEPTED = [case for case in CASES if not case.code]  # each costs a scoring, as noise does: without --full every fifth
QUICK = [case for case in CASES if case in ACCEPTED[::5] or (case.code and case.name != "noise")]


def contents(folder):
    """Every file of a folder: its bytes, or what it links to."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_symlink():
            found[path] = os.readlink(path)
        elif path.is_file():
            found[path] = hashlib.sha256(path.read_bytes()).hexdigest()
        else:
            found[path] = "folder" if path.is_dir() else "special"
    return found


def geometry(path):
    header = nib.load(path).header
    codes = int(header["sform_code"]), int(header["qform_code"])
    return header.get_data_shape()[:3], header.get_sform().tolist(), codes, int(header["xyzt_units"])


def scans_among(arguments):
    named = [Path(a) for a in arguments if str(a).lower().endswith((".nii", ".nii.gz", ".img", ".hdr"))]
    return [path for path in named if path.is_file() and not path.name.startswith("m.")]


def test_there_are_enough_cases_and_each_has_its_own_name():
    assert len(CASES) >= 150
    assert len(set(IDS)) == len(IDS)


@pytest.mark.parametrize("case", some(CASES, *QUICK), ids=IDS)
def test_the_command_line_does_with_it_what_the_corpus_says(case, tmp_path, small_model, monkeypatch, capsys):
    place = tmp_path / "in"
    place.mkdir()
    monkeypatch.chdir(place)
    arguments = case.make(place, small_model)
    out = tmp_path / "out"
    options = [] if "-m" in arguments else ["-m", small_model]
    options += [] if "-o" in arguments else ["-o", out]
    before = contents(tmp_path)
    scans = scans_among(arguments)
    code, said = run(monkeypatch, capsys, "score", *options, *arguments)
    after = contents(tmp_path)
    assert code == case.code, said.err
    assert "Traceback" not in said.err
    assert case.words in said.err
    assert {path: after.get(path) for path in before} == before, "an input changed"
    left = set(after) - set(before)
    assert not [path for path in left if path.name.endswith(".tmp")]
    if case.code:
        assert said.err.count("\n") == 1
        assert said.out == ""
        assert not left
    else:
        maps = [path for path in left if path.name.endswith(("anomaly.nii.gz", "heat.nii.gz"))]
        assert len(maps) == max(1, len(scans))
        for path in maps:
            assert np.isfinite(nib.load(path).get_fdata()).all()
            assert nib.load(path).get_fdata().any()
            for scan in scans[:1]:
                assert geometry(path) == geometry(scan)


LESION = (INSIDE & (np.arange(24) > 14)[:, None, None]).astype(np.uint8)
BAD_LABELS = {
    "of fractions": (raw_scan(LESION * np.float32(0.5)), "whole-numbered"),
    "with NaN": (raw_scan(changed(np.nan, data=LESION.astype(np.float32))), "NaN"),
    "of another shape": (raw_scan(LESION[1:]), "of shape"),
    "of another affine": (raw_scan(LESION, affine=AFFINE + np.eye(4, k=3)), "mm away"),
    "RGB": (raw_scan(datatype=128, bitpix=24), "RGB"),
    "cut": (raw_scan(LESION)[:-9], "cut off"),
    "4D": (raw_scan(np.stack([LESION] * 2, -1)), "3D"),
    "of text": (b"label\n" * 200, "text"),
}


@pytest.mark.parametrize("kind", BAD_LABELS)
@pytest.mark.parametrize("command", ["evaluate", "calibrate"])
def test_a_bad_annotation_is_refused_by_name(kind, command, tmp_path, small_model, monkeypatch, capsys):
    content, words = BAD_LABELS[kind]
    (tmp_path / "a_t1.nii").write_bytes(GOOD)
    (tmp_path / "a_seg.nii").write_bytes(content)
    (tmp_path / "b_t1.nii").write_bytes(GOOD[:-1])
    (tmp_path / "b_seg.nii").write_bytes(content)
    before = contents(tmp_path)
    scans = [tmp_path / "a_t1.nii"] + ([tmp_path / "b_t1.nii"] if command == "calibrate" else [])
    where = tmp_path / "out" / ("m.safetensors" if command == "calibrate" else "")
    given = [small_model, *scans] if command == "calibrate" else [*scans, "-m", small_model]
    code, said = run(monkeypatch, capsys, command, *given, "--labels", "{subject}_seg.nii", "-o", where, "--quiet")
    assert code == 4
    assert said.err.count("\n") == 1
    assert "a_seg.nii" in said.err
    assert words in said.err
    assert contents(tmp_path) == before


def test_a_table_is_not_overwritten_by_the_evaluation_it_asks_for(tmp_path, small_model, monkeypatch, capsys):
    table = tmp_path / "evaluation.csv"
    table.write_text("scan,label\na_t1.nii,a_seg.nii\n")
    code, said = run(monkeypatch, capsys, "evaluate", table, "-m", small_model, "-o", tmp_path)
    assert code == 4
    assert "one of the inputs" in said.err
    assert table.read_text().startswith("scan,label")


def test_an_absurd_voxel_changes_the_map_no_more_than_a_missing_one(tmp_path, small_model, monkeypatch, capsys):
    maps = {}
    for name, value in (("nan", np.nan), ("absurd", 3e38), ("lowest", -3e38)):
        (tmp_path / f"{name}_t1.nii").write_bytes(raw_scan(changed(value)))
        out = tmp_path / f"{name}.nii"
        assert run(monkeypatch, capsys, "score", tmp_path / f"{name}_t1.nii", "-m", small_model, "-o", out)[0] == 0
        maps[name] = nib.load(out).get_fdata()
    assert np.array_equal(maps["nan"], maps["absurd"])
    assert np.array_equal(maps["nan"], maps["lowest"])
