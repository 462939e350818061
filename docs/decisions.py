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
HEADING = re.compile(r"# (\d+)\. (.+)\n\n\*\*Status:\*\* (.+)\n")
STATUS = re.compile(r"accepted|superseded by ")
CITED = re.compile(r"\(design ((?:\[\d+\](?:, )?)+)\)")
HEAD = """<!-- Made by `python docs/decisions.py` from the files of the decisions; do not edit. -->

# Decisions

Each decision has a number and a file: context, choice, and the rejected alternatives.
`design [34]` in a docstring of the code is the decision 34.
A decision is never rewritten to another choice: a new decision supersedes or changes it.
[The method](../method.md) describes the present state.

| decision | status |
|---|---|
"""


@dataclass(frozen=True)
class Decision:
    """One decision: its file, number, title and status, the last with links to the decisions that it names."""

    path: Path
    number: int
    title: str
    status: str


def decisions() -> list[Decision]:
    """Return all decisions in their order."""
    read = []
    for path in sorted(FOLDER.glob("[0-9]*.md")):
        match = HEADING.match(path.read_text())
        if match is None:
            raise SystemExit(f"{path}: expected '# NUMBER. TITLE', then '**Status:** STATUS'")
        read.append(Decision(path, int(match[1]), match[2], match[3]))
    return read


def index() -> str:
    """Return the page of all decisions."""
    rows = [f"| [{one.number}. {one.title}]({one.path.name}) | {one.status} |\n" for one in decisions()]
    return HEAD + "".join(rows)


def cited() -> dict[int, str]:
    """Return the numbers that docstrings and comments cite as `design [34]`, each with a file that does."""
    files = sorted(path for folder in ("vae_loc", "tests", "benchmarks") for path in (ROOT / folder).rglob("*.py"))
    return {
        int(number): str(path.relative_to(ROOT))
        for path in files
        for group in CITED.findall(path.read_text())
        for number in re.findall(r"\d+", group)
    }


def faults() -> list[str]:
    """Return what is wrong with numbers, statuses, citations and the index."""
    known = decisions()
    numbers = [one.number for one in known]
    wrong = [f"{path}: no decision [{number}]" for number, path in cited().items() if number not in numbers]
    if numbers != list(range(1, len(known) + 1)):
        wrong.append(f"{FOLDER.relative_to(ROOT)}: expected the numbers 1 to {len(known)}, each once")
    wrong += [f"{one.path.name}: unknown status {one.status}" for one in known if not STATUS.match(one.status)]
    if not INDEX.exists() or INDEX.read_text() != index():
        wrong.append(f"{INDEX.relative_to(ROOT)}: out of date; run python docs/decisions.py")
    return wrong


if __name__ == "__main__":
    if "--check" in sys.argv[1:]:
        sys.exit("\n".join(faults()) or 0)
    INDEX.write_text(index())
