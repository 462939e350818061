"""info tells what a model is."""

import json

from support.commands import invoke

from vae_loc.model.checkpoint import load_checkpoint, shipped_models


def test_info_tells_of_the_healthy_thresholds(model_file):
    facts = json.loads(invoke("info", model_file, "--json").stdout)
    assert facts["latents"] == 8
    assert facts["combi at 1% healthy"] >= facts["combi at 5% healthy"]


def test_info_shows_what_a_person_reads(model_file):
    said = invoke("info", model_file).stdout
    assert "tiny.safetensors: a model of healthy t1 brains" in said
    assert "4 healthy people" in said
    assert "8 latents, slices of 64 pixels" in said
    assert load_checkpoint(model_file).digest in said
    facts = json.loads(invoke("info", model_file, "--json").stdout)
    row = next(line.split() for line in said.splitlines() if line.split()[:1] == ["combi"])
    assert row[2:5] == [f"{facts[f'combi at {share}% healthy']:.3g}" for share in (1, 5, 10)]


def test_info_lists_all_shipped_models_without_a_name(monkeypatch):
    monkeypatch.delenv("VAE_LOC_MODEL", raising=False)
    said = invoke("info").stdout
    listed = json.loads(invoke("info", "--json").stdout)
    assert list(listed) == shipped_models()
    for name, facts in listed.items():
        row = next(line.split() for line in said.splitlines() if line.split()[:1] == [name])
        assert row[-1] == facts["sha256"][:12]
