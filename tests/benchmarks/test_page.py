"""Means, intervals and tables as the measured pages show them."""

import pytest

from benchmarks.page import interval, table
from vae_loc.evaluation.metrics import mean_interval


def test_a_mean_stands_with_the_interval_of_the_bootstrap():
    values = [0.0, 1.0, 1.0, 1.0]
    of = mean_interval(values)
    assert interval(values) == f"0.75 [{of.low:.2f}, {of.high:.2f}]"


@pytest.mark.parametrize(("values", "text"), [([0.5], "0.50"), ([], "-"), ([True, True], "1.00 [1.00, 1.00]")])
def test_one_person_has_no_interval(values, text):
    assert interval(values) == text


def test_a_table_has_a_rule_below_its_columns():
    assert table(["a", "b"], [["x", 1], ["y", 2]]) == "| a | b |\n|---|---|\n| x | 1 |\n| y | 2 |\n"
