"""A statement is counted over the settings of each seed."""

import pytest

from reproduction.paper.statements import (
    best_map,
    by_seed,
    counted,
    kl_or_combi_is_best,
    map_columns,
    robustness,
    top_auroc,
)
from vae_loc.vocabulary import METHODS

SETTING = ("c",)


def rows_of(combi):
    """Return runs of two settings and the seeds of `combi`, whose AUROC stands against a Rec-Error of 0.5."""
    return [
        {"c": c, "seed": seed, "score": str(score)}
        for seed, scores in combi.items()
        for c, score in zip(("1", "3"), scores, strict=True)
    ]


def high(row):
    return float(row["score"]) > 0.5


@pytest.mark.parametrize(
    ("scores", "text", "mark"),
    [
        ({"0": (0.6, 0.7), "1": (0.8, 0.9)}, "2 of 2", "holds"),
        ({"0": (0.6, 0.7), "1": (0.4, 0.9)}, "1.5 [1, 2] of 2", "in part"),
        ({"0": (0.6, 0.4), "1": (0.4, 0.3)}, "0.5 [0, 1] of 2", "does not hold"),
    ],
)
def test_most_is_more_than_half_of_the_settings_with_every_seed(scores, text, mark):
    finding = counted("x", rows_of(scores), SETTING, high)
    assert (finding.text, finding.mark) == (text, mark)


def test_a_seed_without_all_settings_does_not_count():
    rows = rows_of({"0": (0.6, 0.7), "1": (0.1, 0.1)})[:-1]
    assert list(by_seed(rows, SETTING)) == ["0"]
    assert counted("x", rows, SETTING, high).mark == "holds"


def maps_row(c, **areas):
    return {"c": c, "seed": "0"} | {f"g/{name} auroc": str(areas.get(name.replace("-", "_"), 0.5)) for name in METHODS}


def test_the_best_map_is_that_of_the_highest_auroc():
    columns = map_columns("g", "auroc")
    row = maps_row("1", combi=0.8, rec_error=0.7)
    assert best_map(row, columns) == "combi"
    assert kl_or_combi_is_best(columns)(row)
    assert not kl_or_combi_is_best(columns)(maps_row("1", rec_grad=0.9, combi=0.8))


def test_the_top_is_over_settings_and_maps():
    rows = [maps_row("1", combi=0.8), maps_row("3", rec_grad=0.91)]
    finding = top_auroc("x", rows, SETTING, map_columns("g", "auroc"))
    assert (finding.text, finding.mark) == ("0.910 (Rec-Grad)", "holds")


def test_a_map_that_ranges_less_than_the_error_is_steadier():
    rows = [maps_row("1", rec_error=0.5, combi=0.7, kl_grad=0.1), maps_row("3", rec_error=0.7, combi=0.8, kl_grad=0.9)]
    finding = robustness("x", rows, SETTING, map_columns("g", "auroc"))
    assert finding.mark == "in part"
    assert "Combi 0.100" in finding.text
