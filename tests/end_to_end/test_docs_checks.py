"""The scripts of docs/ find the faults that they are for, and leave whole sentences alone."""

import sys

import pytest
from support.places import ROOT

sys.path.insert(0, str(ROOT / "docs"))
prose = pytest.importorskip("prose", reason="needs a checkout")
stated = pytest.importorskip("stated", reason="needs a checkout")
schemas = pytest.importorskip("schemas", reason="needs a checkout")


@pytest.fixture
def page(tmp_path):
    def written(text):
        path = tmp_path / "page.md"
        path.write_text(text)
        return prose.faults(path, "page.md")

    return written


@pytest.mark.parametrize("phrase", ["a row a scan", "343 scans a minute", "one number a slice", "0.3 s a scan"])
def test_a_clipped_phrase_is_a_fault(page, phrase):
    assert page(f"It writes {phrase}.\n")


def test_two_sentences_on_a_line_are_a_fault(page):
    assert page("The map is smooth. The mask is not.\n") == ["1: one sentence on a line"]


def test_a_long_line_is_a_fault_but_not_for_its_address(page):
    assert page("word " * 25 + "\n") == ["1: 125 characters, at most 120"]
    assert not page("[map](" + "long-" * 30 + ".md) is smooth.\n")


@pytest.mark.parametrize(
    "text",
    [
        "One row per scan, and a page for each cohort.\n",
        "It is the method of Zimmerer et al. 2019, i.e. a VAE.\n",
        "| a table may be wide. It may hold | two sentences |" + " x" * 60 + "\n",
        "```sh\necho one. Two.\n```\n",
        "1. The first step.\n2. The second step.\n",
    ],
)
def test_whole_sentences_tables_and_code_are_left_alone(page, text):
    assert page(text) == []


def test_a_generated_page_keeps_only_the_rule_on_phrases(page):
    head = "Made by `python -m benchmarks.measured.speed`. It has two sentences.\n"
    assert page(head) == []
    assert page(head + "It takes 3 s a scan.\n")


def test_a_field_with_digits_has_a_row_of_its_own():
    attributes = "flagged : share of voxels\nsigned2ras_mm, dice_at_1 : two more,\n    on two lines"
    fields = {name: {"type": "number"} for name in ("flagged", "signed2ras_mm", "dice_at_1")}
    part = {"description": f"A map.\n\nAttributes\n----------\n{attributes}", "properties": fields}
    assert schemas.table(part).splitlines()[-3:] == [
        "| `flagged` | number | share of voxels |",
        "| `signed2ras_mm` | number | two more, on two lines |",
        "| `dice_at_1` | number | two more, on two lines |",
    ]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("3.14<!-- math:pi --> times", None),
        ("314 %<!-- math:pi --> of the diameter", None),
        ("10<!-- string:digits --> digits", None),
        ("Python 3<!-- sys:version_info[0] -->", None),
        ("3.15<!-- math:pi --> times", "states 3.15"),
        ("3 %<!-- math:pi --> of the diameter", "states 3 %"),
        ("3.14<!-- math:no_such --> times", "has no attribute"),
        ("some<!-- math:pi --> times", "expected NUMBER"),
    ],
)
def test_a_stated_number_is_that_of_the_code(text, fault, tmp_path):
    (tmp_path / "page.md").write_text(text)
    found = stated.faults(tmp_path / "page.md")
    assert found == [] if fault is None else fault in found[0]


def test_the_search_of_the_site_answers_with_guides():
    pytest.importorskip("mkdocs", reason="needs the extra docs")
    hooks = pytest.importorskip("hooks")
    unsearched = ("explanation/decisions/README.md", "explanation/decisions/01-a.md", "reproduction/brain/README.md")
    assert all(hooks.UNSEARCHED.match(page) for page in unsearched)
    guides = ("faq.md", "how-to/install.md", "explanation/method.md")
    assert all(hooks.GUIDES.match(page) and not hooks.UNSEARCHED.match(page) for page in guides)


@pytest.mark.parametrize(
    ("first_line", "found"),
    [
        ("What the network says.", "What"),
        ("Return what all but one subject say.", "Return what"),
        ("Tell whether two grids agree.", "Tell whether"),
        ("Return the weights of voxels, of which outliers have no say.", "have no say"),
        ("Return whether two grids agree.", None),
        ("Return the statistics of all subjects but one.", None),
    ],
)
def test_a_docstring_has_a_noun_for_each_what(first_line, found, tmp_path):
    (tmp_path / "module.py").write_text(f'def function():\n    """{first_line}\n\n    What follows is free.\n    """\n')
    faults = prose.docstring_faults(tmp_path / "module.py")
    assert [fault.split("'")[1] for fault in faults] == ([found] if found else [])
