"""Scan, scores JSON, page or folder -> the page to look at, which is made if it is missing; and its browser."""

from __future__ import annotations

import os
import webbrowser
from pathlib import Path

from vae_loc.errors import UnusableInput
from vae_loc.results.cohort_table import TABLE
from vae_loc.results.output_names import PAGE_ENDING, PERSON_SCORES, is_page
from vae_loc.results.scan_summary import read_summary
from vae_loc.results.stored.report import Level, report_folder, report_scan
from vae_loc.results.stored.stored_scan import scores_in, stored_scan
from vae_loc.results.stored.stored_table import read_rows
from vae_loc.scans.own_outputs import SCORES_ENDING


def find_page(result: Path, results: Path | None = None, *, model: str | None = None) -> Path:
    """Return the page of a result, which is made if it is missing.

    Parameters
    ----------
    result : a scan, its scores JSON or page, or a folder of results, whose page is the cohort's if it has several scans
    results : the folder of a scan's results; None looks in the current folder and then in that of the scan
    model : the model's file, where a scan was scored by none of the shipped ones

    Raises
    ------
    UnusableInput : if there is no such result, or its page cannot be made.
    """
    if result.is_dir():
        found = scores_in(result)
        return _page_of(found[0], model) if len(found) == 1 else _cohort_page(result, model)
    if result.suffix.lower() == ".html":
        if is_page(result):
            return result
        scores = result.with_name(result.name.removesuffix(PAGE_ENDING) + SCORES_ENDING)
        if result.exists() or not scores.exists():
            raise UnusableInput(result, "expected a page that vae-loc made, found none; name the folder of results")
        return _page_of(scores, model)
    if result.name.endswith(SCORES_ENDING) and not result.name.endswith(PERSON_SCORES):
        return _page_of(result, model)
    return _page_of(_scores_of(result, [results] if results else [Path(), result.parent]), model)


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


def _page_of(scores: Path, model: str | None) -> Path:
    """Return the page of a scores JSON."""
    stored = stored_scan(scores, read_rows(scores.parent))
    page = stored.names.page(stored.case.scan)
    if not is_page(page):
        report_scan(stored, Level(), model=model)
    return page


def _cohort_page(folder: Path, model: str | None) -> Path:
    """Return the page of a cohort, which is made with those of its scans."""
    page = folder / Path(TABLE).with_suffix(".html")
    if not is_page(page):
        outcome = report_folder(folder, Level(), model=model)
        if len(outcome.failed) == len(outcome.entries):
            raise UnusableInput(folder, f"no page could be made: {outcome.failed[0].error}")
    return page


def _scores_of(scan: Path, folders: list[Path]) -> Path:
    """Return the scores JSON of a scan, the newest one of the first folder that has any."""
    for folder in folders:
        listed = folder.glob(f"*{SCORES_ENDING}") if folder.is_dir() else []
        own = [path for path in listed if not path.name.endswith(PERSON_SCORES) and _is_of(path, scan)]
        if own:
            return max(own, key=lambda path: path.stat().st_mtime)
    looked = " and ".join(str(folder.absolute()) for folder in dict.fromkeys(folders))
    raise UnusableInput(scan, f"expected scores of it in {looked}, found none; name the folder with --results")


def _is_of(scores: Path, scan: Path) -> bool:
    """Tell whether a scores JSON is of a scan, by its path or else by its file name."""
    try:
        stated = Path(read_summary(scores).scan)
    except UnusableInput:
        return False
    return stated.absolute() == scan.absolute() or (not stated.exists() and stated.name == scan.name)
