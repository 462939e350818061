"""FashionMNIST: seeded, and quickly to its page."""

import numpy as np
import pytest
from support.idx import idx
from support.sweeps import run_experiment, run_quickly

from reproduction.fashion_mnist.runs import BASE, perform_run, settings_of


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


@pytest.mark.full
@pytest.mark.parametrize("name", ["paper", "authors", "fast"])
def test_the_same_seed_gives_the_identical_row(fashion_folder, name):
    key = {"protocol": name, "change": "", "latents": "3", "log_c": "1.4", "scaling": "2", "class": "5", "seed": "1"}
    one, other = (perform_run(fashion_folder, 600, key) for _ in range(2))
    assert one == other
    assert perform_run(fashion_folder, 600, key | {"seed": "2"}) != one


@pytest.mark.full
def test_fashion_mnist_quickly(tmp_path, fashion_folder):
    run_quickly("fashion-mnist", "-o", tmp_path, "--data", fashion_folder)
    assert len((tmp_path / "runs.csv").read_text().splitlines()) == 3
    assert "the largest gap between Rec and KL of all classes" in (tmp_path / "README.md").read_text()


@pytest.mark.parametrize(
    ("experiment", "device", "said"),
    [
        ("fashion-mnist", "tpu", "expected auto, cpu, cuda, cuda:N or mps"),
        ("fashion-mnist", "cuda:99", "not on this machine"),
        ("gaussian-mixture", "auto", "is for fashion-mnist and brain"),
    ],
)
def test_a_device_that_cannot_be_used_is_refused(
    tmp_path, monkeypatch, capsys, fashion_folder, experiment, device, said
):
    arguments = ("-o", tmp_path, "--data", fashion_folder, "--quick", "--device", device)
    code, (_, err) = run_experiment(monkeypatch, capsys, experiment, *arguments)
    assert code == 2
    assert said in err


def test_the_axes_vary_around_the_papers_defaults():
    for setting in settings_of("paper", ("latents", "log-c", "scaling")):
        assert setting["class"] == 0
        assert sum(setting[name] != value for name, value in BASE.items()) <= 1


def test_the_claims_are_of_class_5():
    settings = settings_of("paper", ("claims",))
    assert [(one["class"], one["log_c"]) for one in settings] == [(5, 0.0), (5, 1.4)]
