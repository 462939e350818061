"""Two processes of torchrun train one model: the same on both, and as good as that of one."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from support.phantoms import phantom

from vae_loc.training.distributed import ProcessGroup, joined_processes, leave
from vae_loc.training.fit import FitOptions, train_vae

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
SEEDS = 4
OPTIONS = {"latents": 8, "epochs": 20, "batch_size": 16, "c": 1.0}
TRAIN = """
import json, sys
import numpy as np, torch
from vae_loc.training.distributed import joined_processes
from vae_loc.training.fit import FitOptions, NegativeElbo, train_vae
from vae_loc.model.vae import VAE, negative_elbo

place, seeds, options = sys.argv[1], int(sys.argv[2]), json.loads(sys.argv[3])

def gradient_error(group, x):  # of what the processes share, against that of one process with the same noise
    torch.manual_seed(0)
    model = VAE(latents=8, image_size=32)
    loss = group.joined(NegativeElbo(model, 1.0, "fp32"))
    noise = torch.empty(len(x), 8)
    for rank in range(group.size):
        part = noise[rank :: group.size]
        part.copy_(torch.randn(part.shape, generator=torch.Generator().manual_seed(rank)))
    own = group.part(x)
    kl, rec = loss(own, own, torch.Generator().manual_seed(group.rank))
    ((kl + rec).sum() * group.size / len(x)).backward()
    shared = [parameter.grad.clone() for parameter in model.parameters()]
    model.zero_grad()
    kl, rec = negative_elbo(model, x, noise, c=1.0)
    (kl + rec).mean().backward()
    alone = [parameter.grad for parameter in model.parameters()]
    return max(float((a - b).abs().max() / b.abs().max()) for a, b in zip(shared, alone))

slices = np.load(place + "/slices.npy")
with joined_processes("cpu") as group:
    own = [slices[8:], slices[:8]] if group.rank == 0 else None
    training, validation = group.shared(own, 2)
    error = gradient_error(group, torch.from_numpy(training[:15])[:, None])
    settings = [FitOptions(seed=seed, **options) for seed in range(seeds)]
    runs = [train_vae(training, validation, one, group=group) for one in settings]
np.savez(f"{place}/{group.rank}.npz", **runs[0][0])
found = {"error": error, "epochs": [history.epochs for _, history in runs], "best": [h.best for _, h in runs]}
json.dump(found, open(f"{place}/{group.rank}.json", "w"))
"""


def slices_of(count):
    """Smooth slices of 32 pixels with a background, no two alike."""
    affine = np.diag([6.0, 6.0, 6.0, 1.0])
    affine[:3, 3] = -96
    brains = [phantom(affine, (32, 32, 32), seed=0.3 * seed) for seed in range(-(-count // 8))]
    shown = [np.where(inside, (data - 100) / 15, -4.0)[:, :, 12:20] for data, inside in brains]
    return np.concatenate([np.moveaxis(slices, 2, 0) for slices in shown])[:count].astype(np.float32)


@pytest.fixture(scope="module")
def together(tmp_path_factory):
    """Folder with what two processes made, and the slices; 65 to train on, so that one has none of the last batch."""
    place = tmp_path_factory.mktemp("ranks")
    slices = slices_of(73)
    np.save(place / "slices.npy", slices)
    (place / "train.py").write_text(TRAIN)
    command = [*TORCHRUN, str(place / "train.py"), str(place), str(SEEDS), json.dumps(OPTIONS)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)
    assert done.returncode == 0, done.stderr
    return place, slices


def found_by(place, rank):
    return json.loads((place / f"{rank}.json").read_text())


def test_both_processes_have_identical_weights_and_losses(together):
    place, _ = together
    first, second = (np.load(place / f"{rank}.npz") for rank in (0, 1))
    assert first.files
    assert all(np.array_equal(first[name], second[name]) for name in first.files)
    assert found_by(place, 0)["epochs"] == found_by(place, 1)["epochs"]


def test_they_share_the_gradient_that_one_process_has(together):
    assert max(found_by(together[0], rank)["error"] for rank in (0, 1)) < 1e-5


def test_they_reach_the_loss_of_one_process_within_noise(together):
    """The mean best validation loss over seeds, of two processes and of one, within two standard errors."""
    place, slices = together
    one = [train_vae(slices[8:], slices[:8], FitOptions(**OPTIONS, seed=seed))[1].best for seed in range(SEEDS)]
    two = found_by(place, 0)["best"]
    standard_error = np.sqrt((np.var(one, ddof=1) + np.var(two, ddof=1)) / SEEDS)
    assert abs(np.mean(one) - np.mean(two)) < 2 * standard_error
    untrained = found_by(place, 0)["epochs"][0][0]["valid_loss"]
    assert 2 * standard_error < 0.3 * (untrained - np.mean(two))


def test_alone_there_is_nothing_to_share(monkeypatch):
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    with joined_processes("cpu") as group:
        assert (group.rank, group.size, group.device) == (0, 1, "cpu")
        assert group.summed(np.array([1.0, 2.0])).tolist() == [1, 2]
        arrays = [np.zeros((2, 3, 3), np.float32), np.ones((1, 3, 3), np.float32)]
        assert group.shared(arrays, 2) == arrays
        module = torch.nn.Linear(2, 2)
        assert group.joined(module) is module


@pytest.mark.parametrize(("batch", "size"), [(7, 2), (1, 4), (16, 3)])
def test_the_parts_of_a_batch_are_the_batch_once(batch, size):
    indices = torch.randperm(batch)
    parts = [ProcessGroup(rank, size).part(indices) for rank in range(size)]
    assert sorted(torch.cat(parts).tolist()) == list(range(batch))


def test_a_process_of_several_leaves_without_the_end_of_the_interpreter_and_one_alone_stays(monkeypatch):
    codes = []
    monkeypatch.setattr(os, "_exit", codes.append)
    leave(ProcessGroup())
    assert not codes
    leave(ProcessGroup(rank=1, size=2))
    assert codes == [0]
