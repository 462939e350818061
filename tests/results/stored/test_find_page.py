"""view finds the page of whatever is named, makes it if it is missing, and opens it where there is a browser."""

import os

import pytest
from support.commands import finish, invoke, run, stand_in, start

SCREENS = ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")


@pytest.fixture
def out(healthy_folder, small_model, tmp_path, monkeypatch):
    """Outputs of two scans, without pages; no browser is found."""
    scans = [healthy_folder / f"sub{number}_t1.nii.gz" for number in range(2)]
    invoke("segment", *scans, "-m", small_model, "-o", tmp_path / "out", "-q", "--jobs", "1")
    monkeypatch.setenv("VAE_LOC_MODEL", str(small_model))
    return tmp_path / "out"


def viewed(*arguments, **variables):
    """Return exit code, stdout and stderr of `view` in a session without a screen."""
    hidden = {
        name: value for name, value in os.environ.items() if name not in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")
    }
    return finish(start("view", *arguments, env=hidden | {"PATH": ""} | variables))


def test_each_way_of_naming_it_leads_to_the_page(out, healthy_folder):
    page = str(out / "sub0_t1_report.html")
    scan = healthy_folder / "sub0_t1.nii.gz"
    for named in ([out / "sub0_t1_scores.json"], [page], [scan, "--results", out]):
        assert viewed(*named) == (0, page + "\n", "")
        (out / "sub0_t1_report.html").unlink()


def test_a_folder_of_several_scans_has_the_page_of_the_cohort(out):
    assert viewed(out) == (0, f"{out / 'cohort.html'}\n", "")
    assert (out / "sub1_t1_report.html").exists()


def test_a_page_that_is_there_is_left_as_it_is(out):
    viewed(out / "sub0_t1_scores.json")
    before = (out / "sub0_t1_report.html").stat().st_mtime_ns
    viewed(out / "sub0_t1_scores.json")
    assert (out / "sub0_t1_report.html").stat().st_mtime_ns == before


def test_the_browser_is_given_the_page(out, tmp_path):
    stand_in(tmp_path / "bin", browser=f'echo "$1" > {tmp_path / "opened"}')
    code, listed, _ = viewed(out / "sub0_t1_scores.json", BROWSER=f"{tmp_path / 'bin' / 'browser'} %s")
    assert (code, listed) == (0, "")
    assert (tmp_path / "opened").read_text().strip() == (out / "sub0_t1_report.html").as_uri()


def test_a_scan_without_results_is_refused(good, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    code, said = run(monkeypatch, capsys, "view", good)
    assert code == 4
    assert "found none; name the folder with --results" in said.err
