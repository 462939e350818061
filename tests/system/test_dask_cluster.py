"""Tasks on a dask cluster."""

import pytest
from support.commands import names, run
from support.tasks import square

from vae_loc.system.dask_cluster import on_cluster

pytest.importorskip("distributed")


@pytest.mark.parametrize(
    ("scheduler", "words"), [("nowhere.json", "expected dask, slurm"), ("tcp://127.0.0.1:1", "was not reached")]
)
def test_a_scheduler_that_is_not_there_is_named(scheduler, words, good, tmp_path, small_model, monkeypatch, capsys):
    monkeypatch.setattr("vae_loc.system.dask_cluster.TIMEOUT_S", 1)
    arguments = ["score", good, "-m", small_model, "-o", tmp_path / "out", "--scheduler", scheduler]
    code, said = run(monkeypatch, capsys, *arguments)
    assert code == 2
    assert words in said.err.splitlines()[-1]
    assert not names(tmp_path / "out")


def test_a_local_cluster_gives_what_one_process_gives():
    numbers = list(range(6))
    found = on_cluster(square, numbers, scheduler="dask", jobs=2)
    assert sorted(found) == [(number, number * number) for number in numbers]
