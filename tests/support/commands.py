"""Commands as a user gives them: in this process, or as processes of their own; and what they left in a folder."""

from __future__ import annotations

import csv
import re
import subprocess
import sys
import time

import pytest
from typer.testing import CliRunner

from vae_loc.cli.app import app, main

COMMAND = [sys.executable, "-m", "vae_loc"]
KINDS = ("desc-combi_anomaly.nii.gz", "desc-combi_anomaly.png", "scores.json")
MADE = {f"scan_t1_{kind}" for kind in KINDS}  # of scan_t1.nii
TINY = ["--latents", "4", "--image-size", "32", "--threads", "1", "--quiet"]  # options of the quickest training


def run(monkeypatch, capsys, *arguments, program=app):
    """Run a command in this process as the shell would; return its exit code and what it said."""
    monkeypatch.setattr("sys.argv", ["vae-loc", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        main(program)
    return ended.value.code, capsys.readouterr()


def invoke(*arguments, code=0, program=app):
    """Run a command by typer's runner, which must end with `code`; return its result."""
    result = CliRunner().invoke(program, [str(argument) for argument in arguments])
    assert result.exit_code == code, (result.output, result.exception)
    return result


def start(*arguments, **options):
    """Start a command as a process."""
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True} | options
    return subprocess.Popen([*COMMAND, *map(str, arguments)], **options)


def finish(process, seconds=120):
    """Return exit code, stdout and stderr of a process, which must not show a traceback."""
    out, err = process.communicate(timeout=seconds)
    assert "Traceback" not in (err or ""), err
    return process.returncode, out, err


def wait_for(condition, seconds=60):
    """Return what `condition()` gives once it is true."""
    for _ in range(int(seconds * 50)):
        if found := condition():
            return found
        time.sleep(0.02)
    raise AssertionError("waited in vain")


def names(folder):
    """Return the names in a folder; none if there is no folder."""
    return {path.name for path in folder.iterdir()} if folder.exists() else set()


def rows(path):
    """Return the rows of a CSV table."""
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def script(page, words):
    """Return the first shell script of a docs page that holds some words."""
    blocks = re.findall(r"```bash\n(.*?)```", page.read_text(), re.S)
    return next(block for block in blocks if words in block)


def stand_in(folder, **programs):
    """Put shell scripts under the names of programs that are not here."""
    folder.mkdir()
    for name, content in programs.items():
        (folder / name).write_text(f"#!/bin/sh\n{content}\n")
        (folder / name).chmod(0o755)
