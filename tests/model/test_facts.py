"""A checkpoint whose SHA-256 is right may still state what cannot be: it is refused."""

from dataclasses import replace

import numpy as np
import pytest

from vae_loc.errors import UnusableModel
from vae_loc.model.checkpoint import checkpoint, find_model, load_checkpoint, save_checkpoint
from vae_loc.model.facts import meaningless


def made(trained, *, reference=None, healthy=None, weights=None, network=None):
    """Return a checkpoint with other content and the SHA-256 of it."""
    of = trained.checkpoint
    facts = of.facts
    if healthy is not None:
        facts = facts.model_copy(update={"healthy": facts.healthy.model_copy(update=healthy(facts.healthy))})
    if network is not None:
        facts = facts.model_copy(update={"network": facts.network.model_copy(update=network)})
    return checkpoint(facts, weights or of.weights, reference(of.reference) if reference else of.reference, of.modes)


def without(name):
    return lambda reference: {key: value for key, value in reference.items() if key != name}


def changed(name, change):
    return lambda reference: reference | {name: change(reference[name])}


def map_of(change):
    return lambda healthy: {"maps": healthy.maps | {"combi": change(healthy.maps["combi"])}}


def findings_of(**values):
    return lambda healthy: {
        "findings": healthy.findings | {"combi": healthy.findings["combi"].model_copy(update=values)}
    }


HOSTILE = {
    "a place missing": {"reference": without("residual.mean")},
    "a spread by place missing": {"reference": without("kl-magnitude.sd")},
    "the mean brain missing": {"reference": without("template")},
    "a negative spread by place": {"reference": changed("residual.sd", lambda place: -1 - place)},
    "a place of NaN": {"reference": changed("residual.mean", lambda place: place * np.nan)},
    "a place of another shape": {"reference": changed("residual.mean", lambda place: place[1:])},
    "falling quantiles": {"healthy": map_of(lambda values: values[::-1])},
    "a quantile out of order": {"healthy": map_of(lambda values: [*values[:-2], values[-1] + 1, values[-2]])},
    "a negative spread": {"healthy": lambda healthy: {"spread": [-1.0, *healthy.spread[1:]]}},
    "weights of findings that are none": {"healthy": findings_of(weights=[])},
    "a weight of 0": {"healthy": lambda healthy: findings_of(
        weights=[0.0] * len(healthy.findings["combi"].weights))(healthy)},
    "strengths that rise": {"healthy": lambda healthy: findings_of(
        strengths=[[1.0, 2.0]] * len(healthy.findings["combi"].strengths))(healthy)},
    "more kinds than scans": {"healthy": lambda healthy: findings_of(
        kinds=["real"] * (1 + len(healthy.findings["combi"].strengths)))(healthy)},
    "a negative extent": {"healthy": findings_of(extent=-1.0)},
}  # fmt: skip


@pytest.mark.parametrize("kind", HOSTILE)
def test_what_cannot_be_is_refused_by_name(trained, tmp_path, kind):
    save_checkpoint(made(trained, **HOSTILE[kind]), tmp_path / "m.safetensors")
    with pytest.raises(UnusableModel, match=r"its .* is missing, of another shape, not finite, or cannot be"):
        load_checkpoint(tmp_path / "m.safetensors")


@pytest.mark.parametrize("c", [1e-30, 1e30])
def test_a_standard_deviation_that_cannot_be_is_refused(trained, tmp_path, c):
    save_checkpoint(made(trained, network={"c": c}), tmp_path / "m.safetensors")
    with pytest.raises(UnusableModel, match=r"header is wrong at network\.c"):
        load_checkpoint(tmp_path / "m.safetensors")


@pytest.mark.parametrize("name", ["t1", "t2", "flair"])
def test_the_shipped_models_make_sense(name):
    of = load_checkpoint(find_model(name))
    assert list(meaningless(of.facts, of.weights, of.reference, of.modes, of.judge)) == []
    assert list(meaningless(of.facts, of.weights, replace(of, reference={}).reference, {}, {})) != []
