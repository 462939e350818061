"""A model is loaded once, and gives the same whoever computes it."""

import os
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from support.marks import full
from support.scans import opened

from vae_loc.errors import UnusableModel, UnusableOption
from vae_loc.model.checkpoint import find_model, load_checkpoint
from vae_loc.model.network import Model, _torch_network, load_model, ready, resolve_device
from vae_loc.scoring.locate import locate


@pytest.fixture(scope="module")
def shipped():
    return load_checkpoint(find_model("t1"))


@pytest.mark.parametrize("which", ["small", full("shipped")])
def test_torch_and_the_graph_give_the_same_map(which, small_model, scan):
    model = load_checkpoint(small_model if which == "small" else find_model("t1"))
    run = _torch_network(model, "cpu")
    by_torch = locate(opened(scan), Model(model, lambda _: run)).maps["combi"]
    by_graph = locate(opened(scan), ready(model)).maps["combi"]
    np.testing.assert_allclose(by_graph, by_torch, rtol=1e-5, atol=1e-5 * by_torch.max())


def test_a_file_that_has_not_changed_is_loaded_once(model_file, tmp_path):
    path = shutil.copy(model_file, tmp_path / "m.safetensors")
    first = load_model(path)
    assert load_model(str(path)) is first
    assert load_model("t1") is load_model(find_model("t1"))


def test_a_file_that_has_changed_is_loaded_again(model_file, small_model, tmp_path):
    path = shutil.copy(model_file, tmp_path / "m.safetensors")
    before = load_model(path).digest
    shutil.copy(small_model, tmp_path / "new")
    os.replace(tmp_path / "new", path)
    assert load_model(path).digest == load_checkpoint(small_model).digest != before
    path.write_bytes(b"damaged")
    with pytest.raises(UnusableModel):
        load_model(path)


def test_a_model_states_what_its_checkpoint_states(trained, model_file):
    checkpoint = load_checkpoint(model_file)
    assert (trained.facts, trained.digest) == (checkpoint.facts, checkpoint.digest)
    assert trained.reference.keys() == checkpoint.reference.keys()


@pytest.mark.parametrize("size", [{"latents": 9}, {"image_size": 32}])
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_weights_that_are_not_those_of_the_network_are_refused(shipped, size, device):
    network = shipped.facts.network.model_copy(update=size)
    odd = replace(shipped, facts=shipped.facts.model_copy(update={"network": network}))
    with pytest.raises(UnusableModel, match=r"t1\.safetensors: its tensors do not fit the network in its header"):
        ready(odd, device)


@pytest.mark.parametrize("name", ["gpu", "cuda:x", "cpu:0", "mps:1", ""])
def test_what_is_no_device_is_refused(name):
    with pytest.raises(UnusableOption, match="--device"):
        resolve_device(name)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_device_that_is_not_here_is_named_and_auto_does_without():
    with pytest.raises(UnusableOption, match="cuda:1 is not on this machine"):
        resolve_device("cuda:1")
    assert resolve_device("auto") == ("mps" if torch.backends.mps.is_available() else "cpu")
