"""The page's tables are what the runs beside it say."""

from pathlib import Path

import pytest
from support.places import ROOT

from reproduction.paper.page import (
    NEEDED,
    background_table,
    default_table,
    metric_table,
    replaced,
    table_1,
    verdict_table,
)
from reproduction.paper.verdicts import default_axes
from reproduction.sweep import read_rows
from vae_loc.errors import UnusableInput

FOLDER = ROOT / "docs" / "reproduction"


@pytest.fixture(scope="module")
def runs():
    return {name: read_rows(FOLDER / name / "runs.csv") for name in NEEDED}


@pytest.mark.parametrize("table", [verdict_table, table_1, metric_table, default_table, background_table])
def test_the_page_holds_the_table_of_its_runs(runs, table):
    assert table(runs) in (FOLDER / "README.md").read_text()


def test_the_claims_have_three_seeds_under_the_papers_protocol(runs):
    rows = runs["fashion-mnist-paper"]
    for log_c in ("0.0", "1.4"):
        assert sum(row["class"] == "5" and row["log_c"] == log_c for row in rows) >= 3


def test_the_papers_axes_are_of_class_0_or_of_the_default_c(runs):
    rows = default_axes(runs["fashion-mnist-fast"])
    assert rows
    assert all(
        row["class"] == "0" or (row["log_c"], row["latents"], row["scaling"]) == ("0.0", "20", "1") for row in rows
    )


def test_what_stands_between_marks_is_replaced():
    text = "before\n<!-- one -->\nold\n<!-- end of one -->\nafter\n"
    new = replaced(text, "one", "table", Path("page.md"))
    assert new == "before\n<!-- one -->\n\ntable\n\n<!-- end of one -->\nafter\n"
    assert replaced(new, "one", "table", Path("page.md")) == new


def test_a_page_without_the_mark_is_named():
    with pytest.raises(UnusableInput, match=r"page\.md: expected the marks <!-- one --> and <!-- end of one -->"):
        replaced("text", "one", "table", Path("page.md"))
