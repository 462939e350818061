"""Scan, scores JSON, page or folder -> the page to look at, and its browser."""

from __future__ import annotations

import contextlib
import os
import webbrowser
from pathlib import Path

from vae_loc.errors import UnusableInput
from vae_loc.results.cohort_table import TABLE, write_page
from vae_loc.results.output_names import PAGE_ENDING, PERSON_SCORES, is_cohort_table, is_page
from vae_loc.results.scan_page import look_of
from vae_loc.results.scan_summary import read_summary
from vae_loc.scans.own_outputs import SCORES_ENDING


def find_page(result: Path, results: Path | None = None) -> Path:
    """Return the page of a result; that of a cohort is made of its table if it is missing.

    Parameters
    ----------
    result : a scan, its scores JSON or page, or a folder of results, whose page is the cohort's if it has several scans
    results : the folder of a scan's results; None looks in the current folder and then in that of the scan

    Raises
    ------
    UnusableInput : if there is no such result, or it has no page.
    """
    if result.is_dir():
        # the page of the cohort, or that of its only scan
        table, inside = result / TABLE, scores_in(result)
        if is_page(table.with_suffix(".html")):
            return table.with_suffix(".html")
        if is_cohort_table(table) and len(inside) != 1:
            return write_page(table)
        if not inside:
            mend = "run `vae-loc segment --report` first"
            raise UnusableInput(result, f"expected scores of scans (*{SCORES_ENDING}), found none; {mend}")
        if len(inside) > 1:
            raise UnusableInput(result, f"expected one scan or {TABLE}, found {len(inside)} scans; name one of them")
        scores = inside[0]
    elif result.suffix.lower() == ".html":
        if is_page(result):
            return result
        raise UnusableInput(result, "expected a page that vae-loc made, found none; name the folder of results")
    elif result.name.endswith(SCORES_ENDING) and not result.name.endswith(PERSON_SCORES):
        scores = result
    else:
        scores = _scores_of(result, [results] if results else [Path(), result.parent])
    # the page that the scores JSON names
    _, page = look_of(scores, read_summary(scores).files)
    if page is None or not is_page(page):
        mend = "run the command that made the scores again, with --report"
        raise UnusableInput(scores, f"expected a page (*{PAGE_ENDING}) beside it, found none; {mend}")
    return page


def open_page(page: Path) -> bool:
    """Open a page in the browser; return whether there is one that can draw, or that $BROWSER names."""
    try:
        browser = webbrowser.get()
    except webbrowser.Error:
        return False
    in_terminal = type(browser) is webbrowser.GenericBrowser  # lynx or w3m, which draw nothing and wait
    if in_terminal and not os.environ.get("BROWSER"):
        return False
    return browser.open(page.absolute().as_uri())


def scores_in(folder: Path) -> list[Path]:
    """Return the scores JSONs of scans in a folder, by name."""
    return sorted(path for path in folder.glob(f"*{SCORES_ENDING}") if not path.name.endswith(PERSON_SCORES))


def _scores_of(scan: Path, folders: list[Path]) -> Path:
    """Return the scores JSON of a scan, by its path or else by its name: the newest of the first folder with any."""
    for folder in folders:
        own = []
        for scores in scores_in(folder):
            with contextlib.suppress(UnusableInput):
                stated = Path(read_summary(scores).scan)
                if stated.absolute() == scan.absolute() or (not stated.exists() and stated.name == scan.name):
                    own.append(scores)
        if own:
            return max(own, key=lambda path: path.stat().st_mtime)
    looked = " and ".join(str(folder.absolute()) for folder in dict.fromkeys(folders))
    raise UnusableInput(scan, f"expected scores of it in {looked}, found none; name the folder with --results")
