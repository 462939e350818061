"""The command line as a whole: help, wrong options, what is imported, what becomes of exceptions."""

import subprocess
import sys

import pytest
from support.commands import run
from typer.testing import CliRunner

from vae_loc.cli.app import app
from vae_loc.errors import OutOfMemory

HELP = """
import sys
from typer.testing import CliRunner
from vae_loc.cli.app import app
for command in (None, *(found.callback.__name__ for found in app.registered_commands)):
    assert CliRunner().invoke(app, [command, "--help"] if command else ["--help"]).exit_code == 0, command
heavy = {"numpy", "torch", "SimpleITK", "scipy", "sklearn", "skimage", "nibabel", "onnxruntime", "matplotlib"}
print(sorted(heavy & set(sys.modules)))
"""


def test_the_help_of_no_command_imports_anything_heavy():
    done = subprocess.run([sys.executable, "-c", HELP], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


@pytest.mark.parametrize(("option", "value"), [("--method", "magic"), ("--polarity", "up"), ("--fpr", "7")])
def test_a_wrong_option_exits_2(monkeypatch, capsys, option, value):
    assert run(monkeypatch, capsys, "segment", "x.nii", option, value)[0] == 2


def test_the_version_is_said(monkeypatch, capsys):
    code, said = run(monkeypatch, capsys, "--version")
    assert code == 0
    assert said.out.startswith("vae-loc ")


@pytest.mark.parametrize("raised", [MemoryError(), RuntimeError("CUDA out of memory"), OutOfMemory()])
def test_too_little_memory_is_one_line_and_exit_4(monkeypatch, capsys, raised):
    def fail(*_, **__):
        raise raised

    monkeypatch.setattr("json.dumps", fail)
    code, said = run(monkeypatch, capsys, "info", "t1", "--json")
    assert code == 4
    assert said.err == "vae-loc: memory: not enough; lower --batch-size or --threads, or close other programs\n"


def test_every_command_has_its_example():
    for command in app.registered_commands:
        assert f"Example: vae-loc {command.callback.__name__} " in command.callback.__doc__


def test_the_tab_key_completes_the_names_of_models_and_model_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "fleet.safetensors").write_bytes(b"")
    (tmp_path / "flat.nii").write_bytes(b"")
    for words in ("segment a.nii -m fl", "info fl", "export fl"):
        asked = {
            "COMP_WORDS": f"vae-loc {words}",
            "COMP_CWORD": str(len(words.split())),
            "_VAE_LOC_COMPLETE": "complete_bash",
        }
        said = CliRunner().invoke(app, env=asked, prog_name="vae-loc").output
        assert said.split() == ["flair", "fleet.safetensors"]
