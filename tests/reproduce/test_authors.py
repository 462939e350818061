"""The paper's experiments: their data, their sweeps, the authors' scores, and a quick run of each."""

from __future__ import annotations

import gzip
import itertools
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import centred, phantom, save
from torch import distributions
from typer.testing import CliRunner

from vae_loc.cli.app import app
from vae_loc.errors import UnusableInput
from vae_loc.model.vae import VAE, DenseVAE, kl_divergence
from vae_loc.preprocessing.slices import SliceStack
from vae_loc.reproduce import authors, fashion, fashion_training, mixture
from vae_loc.reproduce.brain.data import Patient
from vae_loc.reproduce.brain.measures import measure_cohort
from vae_loc.reproduce.fashion_mnist.idx import read_idx
from vae_loc.reproduce.sweep import RUNS, aggregated, keys_of, sweep
from vae_loc.system.progress import Bars

QUIET = Bars(True)
SETTINGS = [{"letter": letter} for letter in "abc"]


def idx(array, code=8):
    """A gzipped IDX file's bytes."""
    sizes = np.array(array.shape, ">u4").tobytes()
    return gzip.compress(bytes((0, 0, code, array.ndim)) + sizes + array.tobytes(), 1, mtime=0)


@pytest.fixture(scope="module")
def fashion_folder(tmp_path_factory):
    """Noise in the four files of FashionMNIST, as large as they are."""
    folder = tmp_path_factory.mktemp("fashion")
    rng = np.random.default_rng(0)
    for kind, count in (("train", 60000), ("t10k", 10000)):
        few = rng.integers(0, 255, (500, 28, 28), dtype=np.uint8)
        (folder / f"{kind}-images-idx3-ubyte.gz").write_bytes(idx(np.tile(few, (count // 500, 1, 1))))
        labels = np.tile(np.arange(10, dtype=np.uint8), count // 10)
        (folder / f"{kind}-labels-idx1-ubyte.gz").write_bytes(idx(labels))
    return folder


# the reader


def test_an_idx_file_is_read(tmp_path):
    array = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    (tmp_path / "x.gz").write_bytes(idx(array))
    assert np.array_equal(read_idx(tmp_path / "x.gz", dimensions=3), array)


WHOLE = idx(np.zeros((2, 3, 4), np.uint8))


@pytest.mark.parametrize(
    "content, said",
    [
        (WHOLE[:-9], "its end missing"),
        (WHOLE[:12] + b"\0\0" + WHOLE[14:], "damaged gzip"),
        (b"", "an empty file"),
        (b"\x89PNG\r\n", "a PNG picture"),
        (gzip.decompress(WHOLE), "unknown binary data"),
        (gzip.compress(b"hello, world"), "magic number 68656c6c"),
        (idx(np.zeros(4, np.uint8)), "magic number 00000801"),
        (idx(np.zeros((2, 3, 4), np.uint8), code=9), "magic number 00000903"),
        (gzip.compress(gzip.decompress(WHOLE)[:-5]), "19 bytes"),
        (gzip.compress(gzip.decompress(WHOLE) + b"!"), "25 bytes"),
    ],
)
def test_a_truncated_or_foreign_idx_file_is_refused_by_name(tmp_path, content, said):
    path = tmp_path / "images.gz"
    path.write_bytes(content)
    with pytest.raises(UnusableInput, match=r"images\.gz: expected") as caught:
        read_idx(path, dimensions=3)
    assert said in str(caught.value)


def test_a_missing_file_gets_the_hint(tmp_path):
    result = CliRunner().invoke(app, ["reproduce", "fashion-mnist", "-o", str(tmp_path / "o"), "--data", str(tmp_path)])
    assert result.exception.exit_code == 4
    assert "train-images-idx3-ubyte.gz" in str(result.exception)
    assert "apt-get install dataset-fashion-mnist" in str(result.exception)
    assert not (tmp_path / "o").exists()


# the sweep


def toy(key):
    """A result that depends on the key alone."""
    return {"score": len(key["letter"]) + 0.1 * int(key["seed"]), "undefined": np.nan}


def test_a_killed_sweep_resumes_to_the_identical_table(tmp_path):
    script = (
        "import time\n"
        "from pathlib import Path\n"
        "from test_reproduce import SETTINGS, QUIET, toy\n"
        "from vae_loc.reproduce.sweep import keys_of, sweep\n"
        "def slow(key):\n"
        "    time.sleep(0.2)\n"
        "    return toy(key)\n"
        f"sweep(keys_of(SETTINGS, 50), slow, Path({str(tmp_path / 'killed')!r}), jobs=1, bars=QUIET)\n"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent)}
    process = subprocess.Popen([sys.executable, "-c", script], env=environment)
    while not (tmp_path / "killed" / RUNS).exists():
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = (tmp_path / "killed" / RUNS).read_text()
    keys = keys_of(SETTINGS, 3)
    sweep(keys, toy, tmp_path / "killed", jobs=1, bars=QUIET)
    sweep(keys, toy, tmp_path / "whole", jobs=1, bars=QUIET)
    after = (tmp_path / "killed" / RUNS).read_text()
    assert after.startswith(before)
    assert after == (tmp_path / "whole" / RUNS).read_text()


def test_a_finished_run_is_not_repeated(tmp_path):
    keys = keys_of(SETTINGS, 2)
    rows = sweep(keys[:4], toy, tmp_path, jobs=1, bars=QUIET)
    done = []
    more = sweep(keys, lambda key: done.append(key) or toy(key), tmp_path, jobs=1, bars=QUIET)
    assert done == keys[4:]
    assert more[:4] == rows


def test_processes_give_the_table_of_one(tmp_path):
    keys = keys_of(SETTINGS, 2)
    sweep(keys, toy, tmp_path / "two", jobs=2, bars=QUIET)
    sweep(keys, toy, tmp_path / "one", jobs=1, bars=QUIET)
    assert (tmp_path / "two" / RUNS).read_bytes() == (tmp_path / "one" / RUNS).read_bytes()


def test_a_folder_of_another_experiment_is_refused(tmp_path):
    sweep(keys_of(SETTINGS, 1), toy, tmp_path, jobs=1, bars=QUIET)
    with pytest.raises(UnusableInput, match=r"runs\.csv: expected the columns latents, seed, found letter"):
        sweep(keys_of([{"latents": 1}], 1), toy, tmp_path, jobs=1, bars=QUIET)


def test_seeds_are_summed_up():
    rows = [{"letter": "a", "seed": str(i), "score": str(i), "undefined": ""} for i in (1, 2, 6)]
    (entry,) = aggregated(rows, ["letter"], ["score", "undefined"])
    assert (entry["score mean"], entry["score min"], entry["score max"], entry["seeds"]) == (3, 1, 6, 3)
    assert entry["undefined mean"] == ""


# FashionMNIST


@pytest.mark.parametrize("name", ["paper", "authors", "fast"])
def test_the_same_seed_gives_the_identical_row(fashion_folder, name):
    key = {"protocol": name, "change": "", "latents": "3", "log_c": "1.4", "scaling": "2", "class": "5", "seed": "1"}
    one, other = (fashion.perform_run(fashion_folder, 600, key) for _ in range(2))
    assert one == other
    assert fashion.perform_run(fashion_folder, 600, key | {"seed": "2"}) != one


def test_the_scripts_loss_equals_its_transcription():
    torch.manual_seed(0)
    model = DenseVAE(pixels=6, latents=3, hidden=(5,), sigmoid=True)
    x, noise = torch.rand(4, 6), torch.randn(4, 3)
    setting = fashion_training.Setting(latents=3, log_c=0.7, scaling=1)
    kl, rec = fashion_training.terms(model, x, noise, fashion.protocol_of("authors"), setting)
    mu, h = model.encoder(x).chunk(2, dim=1)
    prior, posterior = distributions.Normal(0.0, 1.0), distributions.Normal(mu, h.exp())
    recon = model.decoder(mu + noise * (0.5 * h).exp())
    nll = -distributions.Normal(recon, np.exp(0.7)).log_prob(x).sum(dim=1)
    torch.testing.assert_close(kl, distributions.kl_divergence(posterior, prior).sum(dim=1))
    torch.testing.assert_close(rec + 6 * (0.7 + 0.5 * np.log(2 * np.pi)), nll)


def test_one_tied_copy_is_the_encoder_of_a_repeated_image():
    """Three Adam steps with four literal copies, whose decoders begin alike, and with one for all four."""
    torch.manual_seed(0)
    setting = fashion_training.Setting(latents=2, log_c=0.0, scaling=4)
    literal = replace(fashion.protocol_of("fast"), bf16=False, tied=False)
    tied = replace(literal, tied=True)
    many, one = DenseVAE(pixels=24, latents=2, hidden=(5,)), DenseVAE(pixels=6, latents=2, hidden=(5,))
    with torch.no_grad():
        for ours, theirs in zip(many.parameters(), one.parameters(), strict=True):
            if ours.shape == theirs.shape:
                theirs.copy_(ours)
        one.encoder[0].weight.copy_(many.encoder[0].weight.unflatten(1, (4, 6)).sum(dim=1))
        for name in ("weight", "bias"):
            first = getattr(many.decoder[-1], name)[:6]
            getattr(one.decoder[-1], name).copy_(first)
            getattr(many.decoder[-1], name).copy_(torch.cat([first] * 4))
    batches = [(torch.rand(8, 6), torch.randn(8, 2)) for _ in range(3)]
    losses = {}
    for model, protocol in ((many, literal), (one, tied)):
        optimizer = torch.optim.Adam(fashion_training.tied_groups(model, protocol, setting), lr=1e-3)
        losses[protocol.tied] = []
        for x, noise in batches:
            loss = sum(part.mean() for part in fashion_training.terms(model, x, noise, protocol, setting))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses[protocol.tied].append(float(loss.detach()))
    np.testing.assert_allclose(losses[True], losses[False], rtol=1e-5)


# the authors' brain script


def fields_of(faults, *, c=0.5):
    torch.manual_seed(0)
    model = VAE(latents=3, image_size=16).requires_grad_(False)
    pixels = np.random.default_rng(0).normal(size=(3, 16, 16)).astype(np.float32)
    stack = SliceStack(pixels, np.ones_like(pixels, dtype=bool), np.zeros(3), np.arange(3))
    return model, torch.from_numpy(pixels)[:, None], authors.score_fields(model, stack, c=c, faults=faults)


def script_terms(model, x, c):
    """KL and NLL as the script has them: sigma goes where log sigma belongs."""
    mu, log_std = model.encoder(x).flatten(1).chunk(2, dim=1)
    posterior = distributions.Normal(mu, log_std.exp().exp())
    kl = distributions.kl_divergence(posterior, distributions.Normal(0.0, 1.0)).sum(dim=1)
    return kl, -distributions.Normal(model.decode(mu), c).log_prob(x)


def test_the_scripts_scores_equal_their_transcription():
    c = 0.5
    model, x, fields = fields_of(authors.Faults(double_exp=True, constant=True))
    seen = x.clone().requires_grad_()
    kl, nll = script_terms(model, seen, c)
    rec = nll.sum(dim=(1, 2, 3))
    gradients = [
        torch.autograd.grad(part.sum(), seen, retain_graph=True)[0].abs()[:, 0] for part in (kl, rec, kl + rec)
    ]
    torch.testing.assert_close(torch.from_numpy(fields.kl).float(), kl.detach())
    torch.testing.assert_close(torch.from_numpy(fields.rec).float(), rec.detach())
    torch.testing.assert_close(torch.from_numpy(fields.error), nll.detach()[:, 0])
    for ours, theirs in zip((fields.kl_gradient, fields.rec_gradient, fields.elbo_gradient), gradients, strict=True):
        torch.testing.assert_close(torch.from_numpy(ours), theirs, rtol=1e-4, atol=1e-5)


def test_the_scripts_smoothing_equals_its_sum_over_neighbours():
    values = np.random.default_rng(1).normal(size=(9, 11)).astype(np.float32)
    weights = {(i, j): np.exp(-(i * i + j * j) / 18) for i, j in itertools.product(range(-3, 4), repeat=2)}
    expected = np.zeros_like(values)
    for (r, s), (i, j) in itertools.product(np.ndindex(values.shape), weights):
        if 0 <= r + i < 9 and 0 <= s + j < 11:
            expected[r, s] += weights[i, j] / sum(weights.values()) * values[r + i, s + j]
    found = authors.smoothed_slices(torch.from_numpy(values)[None, None])[0, 0].numpy()
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_the_scripts_combi_equals_its_transcription():
    _, _, fields = fields_of(authors.Faults(constant=True))
    _, _, scaled = fields_of(authors.Faults(constant=True, min_max=True))
    gradient = torch.from_numpy(fields.kl_gradient)
    batch = (gradient - gradient.min()) / (gradient - gradient.min()).max()
    expected = authors.smoothed_slices(batch[:, None])[:, 0].numpy() * fields.error
    np.testing.assert_allclose(
        authors.script_maps(fields, min_max_fields=scaled)["combi"], expected, rtol=1e-5, atol=1e-6
    )


def test_without_faults_the_scores_are_those_of_the_maps():
    from vae_loc.model.vae import score_terms

    model, x, fields = fields_of(authors.NO_FAULTS, c=1.0)
    residual, kl, rec, kl_gradient, rec_gradient = (part.detach().numpy() for part in score_terms(model, x, 1.0))
    np.testing.assert_allclose(fields.error, residual[:, 0] ** 2 / 2, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(fields.kl_gradient, np.abs(kl_gradient[:, 0]), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(fields.elbo_gradient, np.abs(kl_gradient + rec_gradient)[:, 0], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(fields.kl, kl, rtol=1e-5)
    np.testing.assert_allclose(fields.rec, rec, rtol=1e-5)


def test_the_double_exp_is_least_for_a_vanishing_sigma():
    log_sigma = torch.linspace(-4, 2, 50)[:, None]
    right, double = (authors.kl_of(torch.zeros(50, 1), log_sigma, double_exp=on) for on in (False, True))
    assert float(log_sigma[right.argmin()]) == pytest.approx(0, abs=0.2)
    assert double.argmin() == 0
    torch.testing.assert_close(double, kl_divergence(torch.zeros(50, 1), log_sigma.exp()))


# measures


def test_a_perfect_map_and_a_useless_one():
    rng = np.random.default_rng(0)
    patients, maps, fields = [], [], []
    for number in range(5):
        mask = np.zeros((4, 16, 16), bool)
        mask[:, 2:14, 2:14] = True
        truth = np.zeros_like(mask)
        truth[:2, 4:8, 4:8] = True
        stack = SliceStack(np.where(mask, 0.0, -4.0).astype(np.float32), mask, np.zeros(4), np.arange(4))
        diseased = np.array([True, True, False, False])
        patients.append(Patient(f"p{number}", stack, truth, diseased, ~diseased))
        useless = rng.permuted(np.arange(mask.size, dtype=np.float32)).reshape(mask.shape)
        perfect = truth + 0.5 * mask.astype(np.float32)
        maps.append(
            {name: useless for name in ("kl-grad", "rec-grad", "elbo-grad", "combi", "intensity")}
            | {"rec-error": perfect}
        )
        zero = np.zeros_like(perfect)
        fields.append(authors.SliceFields(zero, zero, zero, zero, diseased * 1.0, np.ones(4)))
    found = measure_cohort(patients, maps, fields)
    assert found["rec-error auroc"] == found["rec-error dice"] == found["kl sample auroc"] == 1
    assert found["rec sample auroc"] == 0.5
    assert found["combi auroc"] == pytest.approx(0.5, abs=0.1)
    assert found["combi dice"] <= found["combi dice oracle"] + 0.05


# the mixture


def test_the_mixtures_density_is_one_and_its_gradient_right():
    points = mixture.grid()
    logs, gradient = mixture.log_density(points)
    pixel = (2 * mixture.REACH / (mixture.NODES - 1)) ** 2
    assert np.exp(logs).sum() * pixel == pytest.approx(1, abs=0.01)
    step = np.array([1e-5, 0])
    slope = (mixture.log_density(points + step)[0] - mixture.log_density(points - step)[0]) / 2e-5
    np.testing.assert_allclose(gradient[:, 0], slope, atol=1e-4)


# every command, quickly


def run(*arguments):
    result = CliRunner().invoke(app, ["reproduce", *map(str, arguments), "--quick", "--quiet"])
    assert result.exit_code == 0, result.output


def test_fashion_mnist_quickly(tmp_path, fashion_folder):
    run("fashion-mnist", "-o", tmp_path, "--data", fashion_folder)
    assert len((tmp_path / "runs.csv").read_text().splitlines()) == 3
    assert "Rec leads KL by a large gap" in (tmp_path / "README.md").read_text()


def test_gaussian_mixture_quickly(tmp_path):
    run("gaussian-mixture", "-o", tmp_path)
    assert {path.name for path in tmp_path.iterdir()} >= {
        "runs.csv",
        "table.csv",
        "figure.png",
        "figure.svg",
        "README.md",
    }


@pytest.fixture(scope="module")
def patient_folder(tmp_path_factory):
    """Two annotated phantoms."""
    folder = tmp_path_factory.mktemp("patients")
    affine = centred(np.diag([4.0, 4.0, 4.0]), (40, 46, 36))
    for number in range(2):
        ball = np.array([20.0, 10.0 * number, 0.0])
        data, _ = phantom(affine, (40, 46, 36), ball=ball, radius_mm=25.0)
        healthy, _ = phantom(affine, (40, 46, 36))
        save(folder / f"p{number}_t1.nii.gz", data, affine)
        save(folder / f"p{number}_seg.nii.gz", (data != healthy).astype(np.uint8), affine)
    return folder


@pytest.mark.parametrize("protocol", ["fast", "authors"])
def test_brain_quickly(tmp_path, healthy_folder, patient_folder, protocol):
    scans = ["--healthy", healthy_folder, "--patients", patient_folder, "--labels", "{subject}_seg.nii.gz"]
    name = patient_folder.name
    run("brain", "-o", tmp_path, *scans, "--contrast", "t1", "--protocol", protocol, "--pictures", name)
    assert f"{name}/combi auroc" in (tmp_path / "runs.csv").read_text()
    assert {path.name for path in tmp_path.iterdir()} >= {"table.csv", "dice.csv", "examples.png", "README.md"}


def test_faults_quickly(tmp_path, healthy_folder, patient_folder):
    scans = ["--healthy", healthy_folder, "--patients", patient_folder, "--labels", "{subject}_seg.nii.gz"]
    run("faults", "-o", tmp_path, *scans, "--contrast", "t1")
    assert len((tmp_path / "runs.csv").read_text().splitlines()) == 8


def test_brain_without_labels_is_a_wrong_use(tmp_path, healthy_folder):
    result = CliRunner().invoke(app, ["reproduce", "brain", "-o", str(tmp_path), "--healthy", str(healthy_folder)])
    assert result.exception.exit_code == 2


def test_steps_are_part_of_the_protocols_name(tmp_path):
    from vae_loc.reproduce.brain.training import PROTOCOLS, protocol_of

    assert protocol_of("fast-2000") == replace(PROTOCOLS["fast"], steps=2000)
    options = ["-o", str(tmp_path), "--protocol", "paper", "--steps", "9"]
    assert CliRunner().invoke(app, ["reproduce", "brain", *options]).exception.exit_code == 2
