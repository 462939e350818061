"""The command that opens a page: view."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vae_loc.cli.console import say
from vae_loc.errors import printable


def view(
    result: Annotated[
        Path,
        typer.Argument(
            metavar="RESULT", help="A scan, its scores JSON or page, or a folder that segment or score wrote into."
        ),
    ],
    results: Annotated[
        Path | None,
        typer.Option(
            "-r",
            "--results",
            metavar="FOLDER",
            help="Folder with the results of a scan. Default: the current folder, then the scan's.",
        ),
    ] = None,
) -> None:
    """Open the page of a scan or a cohort in the browser; print its path where there is no browser.

    The page of a scan is there if --report was given to segment, score or bids.
    Example: vae-loc view results
    """
    from vae_loc.results.find_page import find_page, open_page

    page = find_page(result, results)
    if not open_page(page):
        say(printable(page))
