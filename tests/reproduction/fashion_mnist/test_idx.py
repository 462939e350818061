"""An IDX file is read whole, or refused by name."""

import gzip

import numpy as np
import pytest
from support.idx import idx
from support.sweeps import run_experiment

from reproduction.fashion_mnist.idx import read_idx
from vae_loc.errors import UnusableInput


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


def test_a_missing_file_gets_the_hint(tmp_path, monkeypatch, capsys):
    arguments = ["fashion-mnist", "-o", tmp_path / "o", "--data", tmp_path, "--quiet"]
    code, said = run_experiment(monkeypatch, capsys, *arguments)
    assert code == 4
    assert said.err.count("\n") == 1
    assert "train-images-idx3-ubyte.gz" in said.err
    assert "apt-get install dataset-fashion-mnist" in said.err
    assert not (tmp_path / "o").exists()
