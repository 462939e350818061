"""Arrays in a temporary file come back as they were; a full TMPDIR is one line."""

import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vae_loc.errors import UnusableInput
from vae_loc.system.array_store import ArrayStore

DTYPES = (np.bool_, np.uint8, np.float32, np.float64)
SHAPES = [(7,), (3, 4), (2, 3, 5), (1, 1, 1), (6, 1, 2)]


def array_of(shape, dtype, order="C", seed=0):
    values = np.random.default_rng(seed).normal(size=shape) * 100
    return np.asarray(values > 0 if dtype == np.bool_ else np.abs(values), order=order).astype(dtype, order="K")


def assert_same(found, given):
    assert (found.dtype, found.shape) == (given.dtype, given.shape)
    assert np.array_equal(found, given)
    assert found.flags.c_contiguous == given.flags.c_contiguous
    assert found.flags.f_contiguous == given.flags.f_contiguous


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("order", ["C", "F"])
def test_an_array_comes_back_with_its_values_type_and_order(shape, dtype, order):
    given = array_of(shape, dtype, order)
    with ArrayStore() as store:
        assert_same(store.kept(given), given)


@pytest.mark.parametrize("shape", [(0,), (0, 3), (2, 0, 4)])
@pytest.mark.parametrize("dtype", DTYPES)
def test_an_empty_array_comes_back_and_takes_no_room(shape, dtype):
    before, after = array_of((3,), np.float32), array_of((4,), np.uint8)
    with ArrayStore() as store:
        first, empty, last = (store.kept(array) for array in (before, np.zeros(shape, dtype), after))
        assert (empty.shape, empty.dtype) == (shape, dtype)
        assert_same(first, before)
        assert_same(last, after)


@given(st.lists(st.tuples(st.sampled_from(SHAPES), st.sampled_from(DTYPES), st.sampled_from("CF")), max_size=12))
def test_many_arrays_do_not_touch_each_other(kinds):
    given = [array_of(shape, dtype, order, seed) for seed, (shape, dtype, order) in enumerate(kinds)]
    with ArrayStore() as store:
        found = [store.kept(array) for array in given]
        for one, expected in zip(found, given, strict=True):
            assert_same(one, expected)


def test_arrays_of_several_mapped_parts_do_not_touch_each_other(monkeypatch):
    monkeypatch.setattr("vae_loc.system.array_store.MAPPED_BYTES", 5000)
    given = [array_of((n, 7), dtype, "CF"[n % 2], n) for n in (1, 90, 3, 700, 2, 8, 60) for dtype in DTYPES]
    with ArrayStore() as store:
        found = [store.kept(array) for array in given]
        for one, expected in zip(found, given, strict=True):
            assert_same(one, expected)


MANY = """
import resource
import numpy as np
from vae_loc.system.array_store import ArrayStore

resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))
with ArrayStore() as store:
    arrays = [store.kept(np.full(9, number)) for number in range(200)]
    print(sum(int(array[0]) for array in arrays))
"""


@pytest.mark.skipif(os.name != "posix", reason="limits of POSIX")
def test_many_arrays_hold_few_files_open():
    done = subprocess.run([sys.executable, "-c", MANY], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("19900\n", "")


@pytest.mark.parametrize("view", [lambda a: a[::2], lambda a: a[:, ::-1], lambda a: a.T[1:, :], lambda a: a[:, 1:3]])
def test_the_values_of_a_view_are_kept(view):
    given = view(np.arange(24, dtype=np.float32).reshape(4, 6))
    with ArrayStore() as store:
        assert np.array_equal(store.kept(given), given)


def test_what_is_kept_does_not_change_with_the_array_and_cannot_be_written():
    given = array_of((5,), np.float32)
    with ArrayStore() as store:
        found = store.kept(given)
        expected = given.copy()
        given[:] = 0
        assert np.array_equal(found, expected)
        with pytest.raises(ValueError, match="read-only"):
            found[0] = 1


def test_the_file_is_gone_with_the_context(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with ArrayStore() as store:
        store.kept(array_of((9, 9), np.float32))
    assert list(tmp_path.iterdir()) == []


def test_a_tmpdir_that_is_not_there_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "gone"))
    with pytest.raises(UnusableInput, match="TMPDIR: a temporary file could not be written: No such file"):
        ArrayStore()


FULL = """
import resource, sys
import numpy as np
from vae_loc.errors import UnusableInput
from vae_loc.system.array_store import ArrayStore

resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
try:
    with ArrayStore() as store:
        for size in map(int, sys.argv[1:]):
            store.kept(np.ones(size, dtype=np.uint8))
except UnusableInput as error:
    print(error)
"""


@pytest.mark.skipif(os.name != "posix", reason="limits of POSIX")
@pytest.mark.parametrize("sizes", [(1_000_000,), (9_000, 2_000), (5_000, 4_000, 2_000), (9_999, 1, 1)])
def test_a_full_tmpdir_is_one_unusable_input(sizes):
    """Whether the array that does not fit is large, or smaller than Python's buffer."""
    done = subprocess.run([sys.executable, "-c", FULL, *map(str, sizes)], capture_output=True, text=True)
    assert done.stderr == ""
    assert done.stdout == (
        "TMPDIR: a temporary file could not be written: File too large; set it to a folder with space\n"
    )
