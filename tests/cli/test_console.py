"""What a command says: paths, one object, or nothing."""

import json
import os
import pty
import select
import shutil

import nibabel as nib
import numpy as np
import pytest
from support.commands import finish, invoke, run, start
from support.marks import full
from support.phantoms import save


def test_json_output_is_one_object(tmp_path, model_file, scan):
    said = json.loads(invoke("segment", scan, "-m", model_file, "-o", tmp_path, "--threshold", "1", "--json").stdout)
    assert list(said["written"]) == [str(scan)]
    stored = json.loads((tmp_path / "pat_t1_scores.json").read_text())["masks"]["combi"]["findings"]
    assert said["findings"] == {str(scan): {"combi": stored}}
    assert stored


def test_a_terminal_shows_the_number_of_files_and_a_pipe_their_paths(tmp_path, model_file, scan):
    arguments = ["score", scan, "-m", model_file, "-o", tmp_path / "out"]
    reader, writer = pty.openpty()
    _, _, err = finish(start(*arguments, stdout=writer))
    assert select.select([reader], [], [], 0)[0] == []  # nothing was written to the terminal
    os.close(reader)
    os.close(writer)
    written = finish(start(*arguments))[1].splitlines()
    assert err.splitlines()[-1] == f"{len(written)} files in {tmp_path / 'out'}"


def test_quiet_says_nothing(tmp_path, model_file, scan):
    assert invoke("score", scan, "-m", model_file, "-o", tmp_path, "--quiet").stdout == ""


def test_quiet_leaves_only_errors(mixed_folder, tmp_path, small_model, monkeypatch, capsys):
    _, said = run(monkeypatch, capsys, "score", mixed_folder, "-m", small_model, "-o", tmp_path / "out", "--quiet")
    assert said.out == ""
    assert said.err.count("\n") == 1


@pytest.mark.parametrize(("quiet", "jobs"), [(True, 2), full(True, 1), full(False, 1), full(False, 2)])
def test_what_worker_processes_log_is_as_quiet_as_the_command(healthy_folder, tmp_path, small_model, quiet, jobs):
    """Masks of 0 and 255 are logged, in the process that reads them."""
    for number in range(2):
        image = nib.load(healthy_folder / f"sub{number}_t1.nii.gz")
        shutil.copy(healthy_folder / f"sub{number}_t1.nii.gz", tmp_path)
        save(tmp_path / f"sub{number}_brainmask.nii.gz", 255 * (image.get_fdata() > 0).astype(np.uint8), image.affine)
    options = ["--quiet"] if quiet else []
    code, out, err = finish(
        start("score", tmp_path, "-m", small_model, "-o", tmp_path / "out", "--jobs", jobs, *options)
    )
    assert code == 0
    assert err.count("warning: ") == (0 if quiet else 2)
    assert (out + err == "") is quiet
