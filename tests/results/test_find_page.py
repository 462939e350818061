"""view finds the page of whatever is named, and opens it where there is a browser."""

import os

import pytest
from support.commands import finish, invoke, run, stand_in, start

SCREENS = ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")


@pytest.fixture(scope="module")
def out(healthy_folder, small_model, tmp_path_factory):
    """Outputs of two scans with pages; no browser is found."""
    scans = [healthy_folder / f"sub{number}_t1.nii.gz" for number in range(2)]
    folder = tmp_path_factory.mktemp("pages") / "out"
    invoke("segment", *scans, "-m", small_model, "-o", folder, "-q", "--jobs", "1", "--report")
    return folder


def viewed(*arguments, **variables):
    """Return exit code, stdout and stderr of `view` in a session without a screen."""
    hidden = {name: value for name, value in os.environ.items() if name not in SCREENS}
    return finish(start("view", *arguments, env=hidden | {"PATH": ""} | variables))


@pytest.fixture
def no_screen(monkeypatch):
    """No browser is found in this process."""
    for name in SCREENS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", "")


def test_each_way_of_naming_it_leads_to_the_page(out, healthy_folder, no_screen):
    page = str(out / "sub0_t1_report.html")
    scan = healthy_folder / "sub0_t1.nii.gz"
    for named in ([out / "sub0_t1_scores.json"], [page], [scan, "--results", out]):
        assert invoke("view", *named).output == page + "\n"


def test_a_folder_of_several_scans_has_the_page_of_the_cohort_which_is_made_if_it_is_missing(out, no_screen):
    page = out / "cohort.html"
    whole = page.read_bytes()
    page.unlink()
    for _ in range(2):
        assert invoke("view", out).output == f"{page}\n"
        assert page.read_bytes() == whole


def test_the_browser_is_given_the_page(out, tmp_path):
    stand_in(tmp_path / "bin", browser=f'echo "$1" > {tmp_path / "opened"}')
    code, listed, _ = viewed(out / "sub0_t1_scores.json", BROWSER=f"{tmp_path / 'bin' / 'browser'} %s")
    assert (code, listed) == (0, "")
    assert (tmp_path / "opened").read_text().strip() == (out / "sub0_t1_report.html").as_uri()


def test_a_scan_without_results_or_page_is_refused(good, small_model, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    code, said = run(monkeypatch, capsys, "view", good)
    assert code == 4
    assert "found none; name the folder with --results" in said.err
    invoke("score", good, "-m", small_model, "-o", tmp_path)
    code, said = run(monkeypatch, capsys, "view", good)
    assert code == 4
    assert "expected a page (*_report.html) beside it, found none; run the command" in said.err
