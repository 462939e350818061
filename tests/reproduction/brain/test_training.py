"""The protocols by name."""

from dataclasses import replace

from support.sweeps import run_experiment

from reproduction.brain.training import PROTOCOLS, protocol_of


def test_steps_are_part_of_the_protocols_name(tmp_path, monkeypatch, capsys):
    assert protocol_of("fast-2000") == replace(PROTOCOLS["fast"], steps=2000)
    options = ["-o", tmp_path, "--protocol", "paper", "--steps", "9"]
    code, said = run_experiment(monkeypatch, capsys, "brain", *options)
    assert code == 2
    assert said.err.startswith("vae-loc: --steps: ")
