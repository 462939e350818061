"""The command that looks at the installation: doctor."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from vae_loc.errors import printable
from vae_loc.options import AsJson, say

MARKS = {"ok": "ok", "absent": "--", "fault": "!!"}


def doctor(
    folder: Annotated[Path, typer.Argument(metavar="[FOLDER]", help="Where outputs would go.")] = Path("."),
    as_json: AsJson = False,
) -> None:
    """Look at versions, devices, models and disks, and say what is wrong. Nothing is changed.

    The exit code is 0, or that of the first fault. Put its output into a report of a problem.
    Example: vae-loc doctor results
    """
    from vae_loc.doctor import examine

    found = list(examine(folder))
    if as_json:
        say(json.dumps([asdict(finding) for finding in found], indent=1))
    else:
        say("\n".join(f"{MARKS[one.state]}  {one.topic:<20} {printable(one.text)}" for one in found))
    code = next((one.exit_code for one in found if one.state == "fault"), 0)
    if code:
        raise typer.Exit(code)
