"""Docs checks: links and anchors, options, generated pages, stated numbers, and the prose of pages written by hand.

python docs/check.py
"""

from __future__ import annotations

import re
import shlex
import sys
from functools import cache
from pathlib import Path

import decisions
import prose
import stated
from architecture import faults as architecture_faults
from reference import faults as reference_faults
from schemas import faults as schema_faults
from typer.testing import CliRunner

from vae_loc.cli.app import app

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = (".", "docs", "docs/**", "models", "sample_data", "vae_loc/scoring/*", "vae_loc/preprocessing/*")
PAGES = sorted({page for folder in FOLDERS for page in ROOT.glob(f"{folder}/*.md")})


def without_code(text: str) -> str:
    """Return a page's text without its code blocks."""
    return re.sub(r"^ *```.*?^ *```", "", text, flags=re.M | re.S)


@cache
def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub and MkDocs make them."""
    headings = re.findall(r"^#+ (.+)$", without_code(page.read_text()), re.M)
    plain = [re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").lower() for heading in headings]
    return {re.sub(r"\s", "-", re.sub(r"[^\w\s-]", "", heading).strip()) for heading in plain}


def broken_links(page: Path) -> list[str]:
    """Return relative links of a page that lead to no file, or to no heading of a page."""
    faults = []
    for link, anchor in re.findall(r"\]\(([^)#\s]*)(?:#([^)\s]+))?\)", without_code(page.read_text())):
        target = page.parent / link if link else page
        if "://" in link or link.startswith("mailto:"):
            continue
        if not target.exists():
            faults.append(f"{named(page)}: no file {link}")
        elif anchor and target.suffix == ".md" and anchor not in anchors(target):
            faults.append(f"{named(page)}: no heading {link}#{anchor}")
    return faults


@cache
def help_of(command: str) -> str | None:
    """Return the help of a command; None if there is no such command."""
    shown = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "200", "TERM": "dumb"})
    return None if shown.exit_code else shown.output


def unknown_options(page: Path) -> list[str]:
    """Return options shown in code blocks that the command does not have."""
    faults = []
    for block in re.findall(r"```(?:sh|bash|console)?\n(.*?)```", page.read_text(), re.S):
        for command, arguments in re.findall(r"^(?:.*&& )?vae-loc ([a-z]+) ([^\n]*)", block.replace("\\\n", " "), re.M):
            shown = help_of(command)
            if shown is None:
                faults.append(f"{named(page)}: no command {command}")
                continue
            for word in shlex.split(arguments):
                if re.match(r"--?[a-z]", word) and not re.search(rf"(?<![\w-]){re.escape(word)}(?![\w-])", shown):
                    faults.append(f"{named(page)}: vae-loc {command} has no {word}")
    return faults


def named(page: Path) -> str:
    """Return the path of a page as a reader of the repository knows it."""
    return str(page.relative_to(ROOT))


def lost_pages() -> list[str]:
    """Return paths under docs/ that code or configuration name and that are not there."""
    faults = []
    folders = ("vae_loc", "reproduction", "tests", "benchmarks", "docs", "docker", ".ci")
    for path in [ROOT / "Dockerfile", *(path for folder in folders for path in (ROOT / folder).rglob("*"))]:
        if path.suffix in (".py", ".def") or path.name in ("Dockerfile", "run"):
            pages = set(re.findall(r"(?<![\w./])docs/[\w/-]+\.(?:md|ipynb|csv|svg)", path.read_text()))
            faults += [f"{named(path)}: no file {page}" for page in sorted(pages) if not (ROOT / page).exists()]
    return faults


def release_faults() -> list[str]:
    """Return which files do not state the version of pyproject.toml."""
    version = re.search(r'^version = "(.+)"', (ROOT / "pyproject.toml").read_text(), re.M)
    faults = []
    if version and f"## {version[1]}" not in (ROOT / "CHANGELOG.md").read_text():
        faults.append(f"CHANGELOG.md: no heading for version {version[1]}")
    if version and f"version: {version[1]}" not in (ROOT / "CITATION.cff").read_text().splitlines():
        faults.append(f"CITATION.cff: not of version {version[1]}")
    if version and f"version = {{{version[1]}}}" not in (ROOT / "README.md").read_text():
        faults.append(f"README.md: its BibTeX is not of version {version[1]}")
    return faults


def main() -> int:
    """Print every fault; 1 if there is one."""
    faults = [fault for page in PAGES for fault in broken_links(page) + unknown_options(page)]
    faults += reference_faults() + schema_faults() + architecture_faults() + decisions.faults()
    faults += lost_pages() + release_faults()
    faults += [f"{named(page)}:{fault}" for page in PAGES for fault in prose.faults(page, named(page))]
    faults += [f"{named(page)}:{fault}" for page in PAGES for fault in stated.faults(page)]
    folders = ("vae_loc", "reproduction", "benchmarks")
    code = [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]
    faults += [f"{named(path)}:{fault}" for path in code for fault in prose.code_faults(path)]
    package = [path for path in code if path.is_relative_to(ROOT / "vae_loc")]
    faults += [f"{named(path)}:{fault}" for path in package for fault in prose.docstring_faults(path)]
    print("\n".join(faults) or f"docs: {len(PAGES)} pages checked")
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main())
