"""Brains: quickly to their page."""

import pytest
from support.commands import names
from support.sweeps import run_experiment, run_quickly


@pytest.mark.full
@pytest.mark.parametrize("protocol", ["fast", "authors"])
def test_brain_quickly(tmp_path, healthy_folder, patient_folder, protocol):
    scans = ["--healthy", healthy_folder, "--patients", patient_folder, "--labels", "{subject}_seg.nii.gz"]
    name = patient_folder.name
    run_quickly("brain", "-o", tmp_path, *scans, "--contrast", "t1", "--protocol", protocol, "--pictures", name)
    assert f"{name}/combi auroc" in (tmp_path / "runs.csv").read_text()
    assert names(tmp_path) >= {"table.csv", "dice.csv", "examples.png", "README.md"}


def test_brain_without_labels_is_a_wrong_use(tmp_path, healthy_folder, monkeypatch, capsys):
    code, said = run_experiment(monkeypatch, capsys, "brain", "-o", tmp_path / "o", "--healthy", healthy_folder)
    assert code == 2
    assert "one --labels for every --patients" in said.err
    assert names(tmp_path) == set()
