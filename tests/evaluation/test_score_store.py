"""Scores of many subjects in one temporary file."""

import numpy as np

from vae_loc.evaluation.score_store import ScoreStore
from vae_loc.system.array_store import ArrayStore


def test_the_store_gives_back_sorted_parts():
    rng = np.random.default_rng(0)
    with ArrayStore() as arrays:
        store = ScoreStore(arrays)
        for n in (10, 0, 7):
            store.add("a", rng.random(n) < 0.5, rng.random(n).astype(np.float32))
        lesion, other = store.parts("a")
        assert [len(a) + len(b) for a, b in zip(lesion, other, strict=True)] == [10, 0, 7]
        assert all((np.diff(part) >= 0).all() for part in (*lesion, *other))


def test_each_map_has_its_own_parts_and_an_unknown_one_has_none():
    rng = np.random.default_rng(0)
    given = {}
    with ArrayStore() as arrays:
        store = ScoreStore(arrays)
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
