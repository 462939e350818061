"""The commands that show what is stored: report and view."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vae_loc.cli.console import listening, print_outcome, say
from vae_loc.cli.numbers import finite, parsed_share
from vae_loc.cli.option_groups import with_groups
from vae_loc.cli.options import TalkOptions, parsed_cubic_mm
from vae_loc.errors import printable

if TYPE_CHECKING:
    from vae_loc.results.stored.report import Level

ModelFile = Annotated[
    str | None,
    typer.Option(
        "-m",
        "--model",
        envvar="VAE_LOC_MODEL",
        help="The .safetensors file of the model that scored the scans. The shipped models are known without it.",
        show_default=False,
    ),
]


@dataclass(frozen=True)
class LevelOptions:
    """How findings are made anew."""

    false_findings: Annotated[
        float | None,
        typer.Option(
            "--false-findings",
            min=0.001,
            max=5,
            help="Make the findings anew: how many a healthy scan may be expected to have.",
            show_default=False,
        ),
    ] = None
    threshold: Annotated[
        float | None,
        typer.Option(help="Make the findings anew: every voxel whose map value is above this.", show_default=False),
    ] = None
    fpr: Annotated[
        str | None,
        typer.Option(
            metavar="SHARE",
            help="Make the findings anew: every voxel above what this share of healthy voxels exceeds: 0.05 or 5%.",
            show_default=False,
        ),
    ] = None
    min_size: Annotated[
        str | None,
        typer.Option(
            metavar="MM3",
            help="Make the findings anew: the smallest one kept, such as 100mm3. Default: as it was stored.",
            show_default=False,
        ),
    ] = None
    persons: Annotated[
        bool,
        typer.Option(
            "--persons/--no-persons",
            help="With new findings, also write one result of the T1, T2 and FLAIR of one person and session.",
        ),
    ] = True

    def level(self) -> Level:
        """Return which findings are wanted."""
        from vae_loc.results.stored.report import Level

        threshold, false_findings = (finite(name, getattr(self, name)) for name in ("threshold", "false_findings"))
        size = None if self.min_size is None else parsed_cubic_mm(self.min_size)
        return Level(threshold, parsed_share(self.fpr), false_findings, size, persons=self.persons)


@with_groups
def report(
    results: Annotated[Path, typer.Argument(metavar="RESULTS", help="Folder that segment or score wrote into.")],
    level: LevelOptions,
    talk: TalkOptions,
    model: ModelFile = None,
) -> None:
    """Make the pages, pictures and cohort table of stored results, without scoring a scan again.

    The scan itself is read for the picture, and its brain is found as before; a scan that is missing or has changed is
    named, and the others go on. Without an option the stored findings stay as they are. --false-findings, --threshold,
    --fpr or --min-size make findings, masks, tables and JSON anew. They are exactly those that segment writes with
    these options, for they are taken from the signed map (*_signed.nii.gz), which is stored as it was made.
    Example: vae-loc report results --fpr 0.01
    """
    from vae_loc.results.stored.report import report_folder

    with listening(talk) as listener:
        outcome = report_folder(results, level.level(), model=model, listener=listener)
    print_outcome(outcome, talk)


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
            help="Where the results of a scan are. Default: the current folder, then the scan's.",
            show_default=False,
        ),
    ] = None,
    model: ModelFile = None,
) -> None:
    """Open the page of a scan or a cohort in the browser; print its path where there is no browser.

    A page that is missing is made first, with the findings as they are stored.
    Example: vae-loc view results
    """
    from vae_loc.results.stored.find_page import find_page, open_page

    page = find_page(result, results, model=model)
    if not open_page(page):
        say(printable(page))
