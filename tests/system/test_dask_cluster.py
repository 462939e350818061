"""Tasks on a dask cluster."""

import http.client
import os
import socket
import ssl
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from support.commands import names, run
from support.tasks import square

from vae_loc.errors import UnusableOption
from vae_loc.system.dask_cluster import on_cluster

pytest.importorskip("distributed")


@pytest.mark.parametrize(
    ("scheduler", "words"), [("nowhere.json", "expected dask, slurm"), ("tls://127.0.0.1:1", "was not reached")]
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


def test_a_local_worker_keeps_memory_from_scan_to_scan():
    """dask's own setting gives it back at once: scans took half as much CPU time again."""
    assert list(on_cluster(os.getenv, ["MALLOC_TRIM_THRESHOLD_"], scheduler="dask", jobs=1)) == [(0, None)]


def listening():
    """Yield the ports of TCP on which somebody listens on this machine."""
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, local, _, state, *_ = line.split()
        if state == "0A":
            yield int(local.split(":")[1], 16)


def said_by(port):
    """Return what a port says to a client with TLS and without a key, after it asked for a page."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as plain, context.wrap_socket(plain) as secured:
            secured.sendall(b"GET /status HTTP/1.0\r\n\r\n")
            return secured.recv(1000)
    except OSError:
        return b""


def test_a_local_cluster_lets_nobody_in_who_has_not_its_keys():
    pytest.importorskip("cryptography")
    before = set(listening())
    running = on_cluster(square, [2, 3], scheduler="dask", jobs=1)
    found = [next(running)]
    ours = set(listening()) - before
    assert len(ours) >= 3, "scheduler, nanny, worker"
    for port in ours:
        assert said_by(port) == b"" or b"404" in said_by(port)
        with pytest.raises((urllib.error.URLError, OSError, http.client.HTTPException)):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/status", timeout=5)
    assert sorted([*found, *running]) == [(0, 4), (1, 9)]


def test_without_cryptography_a_local_cluster_is_refused(monkeypatch):
    monkeypatch.setitem(sys.modules, "cryptography", None)
    with pytest.raises(UnusableOption, match="needs cryptography; pip install"):
        next(on_cluster(square, [2], scheduler="dask", jobs=1))


@pytest.mark.parametrize("kind", ["address", "file"])
def test_a_cluster_without_tls_is_refused(tmp_path, kind):
    scheduler = "tcp://127.0.0.1:1"
    if kind == "file":
        (tmp_path / "s.json").write_text(f'{{"address": "{scheduler}"}}')
        scheduler = str(tmp_path / "s.json")
    with pytest.raises(UnusableOption, match="expected a cluster with TLS"):
        next(on_cluster(square, [2], scheduler=scheduler, jobs=1))


@pytest.mark.parametrize("content", ["", "[]", "{}", "text"])
def test_a_file_that_is_no_scheduler_file_is_named(tmp_path, content):
    (tmp_path / "s.json").write_text(content)
    with pytest.raises(UnusableOption, match="or the file that dask scheduler writes, got"):
        next(on_cluster(square, [2], scheduler=str(tmp_path / "s.json"), jobs=1))
