"""Scores of many subjects in one temporary file."""

import os
import subprocess
import sys

import numpy as np
import pytest

from vae_loc.evaluation.score_store import ScoreStore


def test_the_store_gives_back_sorted_parts():
    rng = np.random.default_rng(0)
    with ScoreStore() as store:
        for n in (10, 0, 7):
            store.add("a", rng.random(n) < 0.5, rng.random(n).astype(np.float32))
        lesion, other = store.parts("a")
        assert [len(a) + len(b) for a, b in zip(lesion, other, strict=True)] == [10, 0, 7]
        assert all((np.diff(part) >= 0).all() for part in (*lesion, *other))


def test_each_map_has_its_own_parts_and_an_unknown_one_has_none():
    rng = np.random.default_rng(0)
    given = {}
    with ScoreStore() as store:
        for subject in range(3):
            for name in ("a", "b"):
                labels, scores = rng.random(50) < 0.3, rng.random(50).astype(np.float32)
                sides = store.add(name, labels, scores)
                given[name, subject] = np.sort(scores[labels]), np.sort(scores[~labels])
                assert all(np.array_equal(*pair) for pair in zip(sides, given[name, subject], strict=True))
        for name in ("a", "b"):
            for side, parts in enumerate(store.parts(name)):
                assert all(np.array_equal(part, given[name, n][side]) for n, part in enumerate(parts))
        assert store.parts("c") == ([], [])


FULL = """
import resource, sys
import numpy as np
from vae_loc.errors import UnusableInput
from vae_loc.evaluation.score_store import ScoreStore

resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
try:
    with ScoreStore() as store:
        for size in map(int, sys.argv[1:]):
            store.add("a", np.zeros(size, dtype=bool), np.ones(size, dtype=np.float32))
        store.parts("a")
except UnusableInput as error:
    print(error)
"""


@pytest.mark.skipif(os.name != "posix", reason="limits of POSIX")
@pytest.mark.parametrize("sizes", [(1_000_000,), (2_000, 1_000), (1_000, 1_000, 600)])
def test_a_full_tmpdir_is_one_unusable_input(sizes):
    """Whether the scores that do not fit are many, or fewer than Python's buffer holds."""
    done = subprocess.run([sys.executable, "-c", FULL, *map(str, sizes)], capture_output=True, text=True)
    assert done.stderr == ""
    assert done.stdout == (
        "TMPDIR: a temporary file could not be written: File too large; set it to a folder with space\n"
    )
