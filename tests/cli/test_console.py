"""What a command says: paths, one object, or nothing."""

import json

from support.commands import invoke, run


def test_json_output_is_one_object(tmp_path, model_file, scan):
    said = invoke("score", scan, "-m", model_file, "-o", tmp_path, "--json").stdout
    assert list(json.loads(said)["written"]) == [str(scan)]


def test_quiet_says_nothing(tmp_path, model_file, scan):
    assert invoke("score", scan, "-m", model_file, "-o", tmp_path, "--quiet").stdout == ""


def test_quiet_leaves_only_errors(mixed_folder, tmp_path, small_model, monkeypatch, capsys):
    _, said = run(monkeypatch, capsys, "score", mixed_folder, "-m", small_model, "-o", tmp_path / "out", "--quiet")
    assert said.out == ""
    assert said.err.count("\n") == 1
