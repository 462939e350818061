"""Docs checks: links lead somewhere, every option that the docs show exists, cli.md is what the commands say.

python docs/check.py
"""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

from reference import faults as reference_faults
from schemas import faults as schema_faults
from typer.testing import CliRunner

from vae_loc.cli.app import app

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = (".", "docs", "docs/reproduction", "docs/reproduction/*", "models", "sample_data")
PAGES = [page for folder in FOLDERS for page in sorted(ROOT.glob(f"{folder}/*.md"))]


def broken_links(page: Path) -> list[str]:
    """Return relative links of a page that lead to no file."""
    links = re.findall(r"\]\(([^)#\s]+)", page.read_text())
    return [f"{page.name}: no file {link}" for link in links if "://" not in link and not (page.parent / link).exists()]


def unknown_options(page: Path) -> list[str]:
    """Return options shown in code blocks that the command does not have."""
    faults = []
    for block in re.findall(r"```(?:sh|bash|console)?\n(.*?)```", page.read_text(), re.S):
        for call in re.findall(r"^(?:.*&& )?vae-loc ([a-z]+) ([^\n]*)", block.replace("\\\n", " "), re.M):
            command, arguments = call
            shown = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "200", "TERM": "dumb"})
            if shown.exit_code:
                faults.append(f"{page.name}: no command {command}")
                continue
            for word in shlex.split(arguments):
                if re.match(r"--?[a-z]", word) and not re.search(
                    rf"(?<![\w-]){re.escape(word)}(?![\w-])", shown.output
                ):
                    faults.append(f"{page.name}: vae-loc {command} has no {word}")
    return faults


def main() -> int:
    """Print every fault; 1 if there is one."""
    faults = [fault for page in PAGES for fault in broken_links(page) + unknown_options(page)]
    faults += reference_faults() + schema_faults()
    version = re.search(r'^version = "(.+)"', (ROOT / "pyproject.toml").read_text(), re.M)
    if version and f"## {version[1]}" not in (ROOT / "CHANGELOG.md").read_text():
        faults.append(f"CHANGELOG.md: no heading for version {version[1]}")
    if version and f"version: {version[1]}" not in (ROOT / "CITATION.cff").read_text().splitlines():
        faults.append(f"CITATION.cff: not of version {version[1]}")
    print("\n".join(faults) or f"docs: {len(PAGES)} pages checked")
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main())
