"""Two processes of torchrun train one model: the same on both, and as good as that of one."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from conftest import phantom

from vae_loc.training.distributed import joined_processes
from vae_loc.training.fit import train_vae

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
SEEDS = 4
OPTIONS = {"latents": 8, "epochs": 20, "batch_size": 16, "c": 1.0}

TRAIN = """
import json, sys
import numpy as np, torch
from vae_loc.training.distributed import joined_processes
from vae_loc.training.fit import NegativeElbo, train_vae
from vae_loc.model.vae import VAE, negative_elbo

place, seeds, options = sys.argv[1], int(sys.argv[2]), json.loads(sys.argv[3])

def gradient_error(ranks, x):  # of what the processes share, against that of one process with the same noise
    torch.manual_seed(0)
    model = VAE(latents=8, image_size=32)
    loss = ranks.joined(NegativeElbo(model, 1.0, "fp32"))
    noise = torch.empty(len(x), 8)
    for rank in range(ranks.size):
        part = noise[rank :: ranks.size]
        part.copy_(torch.randn(part.shape, generator=torch.Generator().manual_seed(rank)))
    own = ranks.part(x)
    kl, rec = loss(own, own, torch.Generator().manual_seed(ranks.rank))
    ((kl + rec).sum() * ranks.size / len(x)).backward()
    shared = [parameter.grad.clone() for parameter in model.parameters()]
    model.zero_grad()
    kl, rec = negative_elbo(model, x, noise, c=1.0)
    (kl + rec).mean().backward()
    alone = [parameter.grad for parameter in model.parameters()]
    return max(float((a - b).abs().max() / b.abs().max()) for a, b in zip(shared, alone))

slices = np.load(place + "/slices.npy")
with joined_processes("cpu") as ranks:
    own = [slices[8:], slices[:8]] if ranks.rank == 0 else None
    training, validation = ranks.shared(own, 2)
    error = gradient_error(ranks, torch.from_numpy(training[:15])[:, None])
    runs = [train_vae(training, validation, ranks=ranks, seed=seed, **options) for seed in range(seeds)]
np.savez(f"{place}/{ranks.rank}.npz", **runs[0][0])
found = {"error": error, "epochs": [history.epochs for _, history in runs], "best": [h.best for _, h in runs]}
json.dump(found, open(f"{place}/{ranks.rank}.json", "w"))
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
    one = [train_vae(slices[8:], slices[:8], **OPTIONS, seed=seed)[1].best for seed in range(SEEDS)]
    two = found_by(place, 0)["best"]
    standard_error = np.sqrt((np.var(one, ddof=1) + np.var(two, ddof=1)) / SEEDS)
    assert abs(np.mean(one) - np.mean(two)) < 2 * standard_error
    untrained = found_by(place, 0)["epochs"][0][0]["valid_loss"]
    assert 2 * standard_error < 0.3 * (untrained - np.mean(two))


def test_alone_there_is_nothing_to_share(monkeypatch):
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    with joined_processes("cpu") as ranks:
        assert (ranks.rank, ranks.size) == (0, 1)
        assert ranks.summed(np.array([1.0, 2.0])).tolist() == [1, 2]


def test_the_torchrun_script_of_the_docs_trains_and_the_first_process_alone_writes(healthy_folder, tmp_path, request):
    from test_cluster import script, stand_in

    page = request.config.rootpath / "docs" / "cluster.md"
    text = script(page, "srun torchrun").replace(
        "healthy/", f"{healthy_folder}/ --epochs 2 --latents 4 --image-size 32"
    )
    (tmp_path / "train.sh").write_text(text)
    stand_in(tmp_path / "bin", srun='exec "$@"', scontrol="echo localhost")
    environment = os.environ | {
        "PATH": f"{tmp_path / 'bin'}:{os.path.dirname(sys.executable)}:{os.environ['PATH']}",
        "SLURM_JOB_NODELIST": "localhost",
        "SLURM_NNODES": "1",
        "SLURM_JOB_ID": "7",
        "SLURM_GPUS_ON_NODE": "2",
        "OMP_NUM_THREADS": "1",
    }
    command = ["bash", "train.sh"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"bin", "train.sh", "mine.safetensors", "mine.training.json"}
    assert done.stdout.splitlines() == ["mine.safetensors", "mine.training.json"]
    record = json.loads((tmp_path / "mine.training.json").read_text())
    assert len(record["epochs"]) == 2
