"""The reference of the commands, made from their --help: docs/reference/cli.md.

python docs/reference.py           writes it
python docs/reference.py --check   says whether it is what the commands say of themselves
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import typer
from typer.cli import get_docs_for_click

from vae_loc.cli.app import app

PAGE = Path(__file__).with_name("reference") / "cli.md"
HEAD = "<!-- Made by `python docs/reference.py` from the commands' own help; do not edit. -->\n\n"


def reference() -> str:
    """Return the page."""
    command = typer.main.get_command(app)
    text = get_docs_for_click(obj=command, ctx=typer.Context(command, info_name="vae-loc"), name="vae-loc")
    text = re.sub(r"\n+Example: (.*)$", r"\n\nExample:\n\n```sh\n\1\n```", text, flags=re.M)
    return HEAD + re.sub(r"[ \t]+$", "", text, flags=re.M).rstrip() + "\n"


def faults() -> list[str]:
    """Return what is wrong: a page that is out of date, commands without an example."""
    missing = [
        f"vae-loc {name} --help: no example"
        for name, command in typer.main.get_command(app).commands.items()
        if "Example: vae-loc" not in " ".join((command.help or "").split())
    ]
    current = PAGE.read_text() if PAGE.exists() else ""
    stale = "docs/reference/cli.md: out of date; run python docs/reference.py"
    return missing + ([] if current == reference() else [stale])


if __name__ == "__main__":
    if "--check" in sys.argv[1:]:
        sys.exit("\n".join(faults()) or 0)
    PAGE.write_text(reference())
