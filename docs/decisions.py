"""The index of the decisions, made from their files: docs/explanation/decisions/README.md.

python docs/decisions.py           writes it
python docs/decisions.py --check   tells whether it is up to date, and whether every decision that code names is there
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDER = Path(__file__).with_name("explanation") / "decisions"
INDEX = FOLDER / "README.md"
HEADING = re.compile(r"# (\d+)\. (.+)\n\n\*\*Status:\*\* (.+)\n\n\*\*Theme:\*\* (.+)\n")
STATUS = re.compile(r"accepted|superseded by |withdrawn: ")  # withdrawn: its object is gone, and why
THEMES = (  # in the order of the index
    "the paper", "scans and geometry", "maps", "findings and thresholds", "training", "tried and left out",
    "evaluation", "model and runtime", "files", "pages and pictures", "processes", "code",
)  # fmt: skip
CITED = re.compile(r"\(design ((?:\[\d+\](?:, )?)+)\)")
HEAD = """<!-- Made by `python docs/decisions.py` from the files of the decisions; do not edit. -->

# Decisions

Each decision has a number, a status, a theme and a file: the choice and its reasons.
Some decisions also list alternatives that were tried.
`design [34]` in a docstring of the code is the decision 34.
Within a theme, the decisions that code cites come first, in **bold**.
A decision is never rewritten to another choice: a new decision supersedes or changes it.
A decision is withdrawn when its object is gone.
[The method](../method.md) describes the present state.
"""
TABLE = "\n## {theme}\n\n| decision | status |\n|---|---|\n"


@dataclass(frozen=True)
class Decision:
    """One decision: its file, number, title, theme, and status with links to the decisions that it names."""

    path: Path
    number: int
    title: str
    status: str
    theme: str


def decisions() -> list[Decision]:
    """Return all decisions in their order."""
    read = []
    for path in sorted(FOLDER.glob("[0-9]*.md"), key=lambda path: int(path.name.split("-")[0])):
        match = HEADING.match(path.read_text())
        if match is None:
            raise SystemExit(f"{path}: expected '# NUMBER. TITLE', '**Status:** STATUS' and '**Theme:** THEME'")
        read.append(Decision(path, int(match[1]), *match.groups()[1:]))
    return read


def index() -> str:
    """Return the page of all decisions: one table for each theme."""
    known, used = decisions(), cited()
    page = HEAD
    for theme in THEMES:
        page += TABLE.format(theme=theme.capitalize())
        for one in sorted((one for one in known if one.theme == theme), key=lambda one: one.number not in used):
            link = f"[{one.number}. {one.title}]({one.path.name})"
            page += f"| {f'**{link}**' if one.number in used else link} | {one.status} |\n"
    return page


def cited() -> dict[int, str]:
    """Return the decisions that docstrings and comments cite as `design [34]`, each with a file that does."""
    folders = ("vae_loc", "reproduction", "tests", "benchmarks")
    files = sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))
    return {
        int(number): str(path.relative_to(ROOT))
        for path in files
        for group in CITED.findall(path.read_text())
        for number in re.findall(r"\d+", group)
    }


def faults() -> list[str]:
    """Return the faults of numbers, statuses, themes, citations and the index."""
    known = decisions()
    numbers = [one.number for one in known]
    wrong = [f"{path}: no decision [{number}]" for number, path in cited().items() if number not in numbers]
    if numbers != list(range(1, len(known) + 1)):
        wrong.append(f"{FOLDER.relative_to(ROOT)}: expected the numbers 1 to {len(known)}, each once")
    wrong += [f"{one.path.name}: unknown status {one.status}" for one in known if not STATUS.match(one.status)]
    wrong += [f"{one.path.name}: unknown theme {one.theme}" for one in known if one.theme not in THEMES]
    if not INDEX.exists() or INDEX.read_text() != index():
        wrong.append(f"{INDEX.relative_to(ROOT)}: out of date; run python docs/decisions.py")
    return wrong


if __name__ == "__main__":
    if "--check" in sys.argv[1:]:
        sys.exit("\n".join(faults()) or 0)
    INDEX.write_text(index())
