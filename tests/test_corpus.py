"""Every case of the corpus through the command line: exit code, one line, nothing left, inputs unchanged."""

import hashlib
import os
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from corpus import CASES
from test_bad_input import run

IDS = [case.name for case in CASES]


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


@pytest.mark.parametrize("case", CASES, ids=IDS)
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
