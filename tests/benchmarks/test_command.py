"""The command line that the scripts share."""

from pathlib import Path

from benchmarks.command import finish, parser_of, reading


def test_only_the_scripts_that_need_them_have_the_shared_scans_and_a_page():
    assert vars(parser_of("It.").parse_args([])) == {}
    options = parser_of("It.", shared=True, output=True).parse_args(["-o", "page.md"])
    assert (options.shared, options.output) == (Path("../shared/data"), Path("page.md"))


def test_a_page_is_printed_and_written(tmp_path, capsys):
    finish("page", tmp_path / "page.md")
    finish("other", None)
    assert (tmp_path / "page.md").read_text() == "page"
    assert capsys.readouterr().out == "page\nother\n"


def test_the_introduction_of_a_page_is_the_docstring_after_its_commands():
    assert reading("Title.\n\n    python -m it\n\nOne thread.\n\nMore.\n") == "One thread.\n\nMore.\n"
