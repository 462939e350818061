"""Rules for prose: length of lines, one sentence on a line, clipped phrases, a noun for each "what".

python docs/prose.py FILE...    shows the faults of these pages only

Generated pages and Python code keep only the rule on clipped phrases.
"""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

MAX_LINE = 120  # outside tables and code blocks
GENERATED = ("Made by `python", "Made by `vae-loc")  # near the top of a generated page
TABLES = "<!-- tables -->"  # what follows is generated
# rewritten elsewhere while these rules were made: take each off the list once it follows them
LATER = ("CHANGELOG.md", "docs/reproduction/")
UNITS = "scan|slice|patient|person|subject|people|voxel|setting|run|process|batch|event|job|worker|second|minute"
THINGS = "row|line|page|file|picture|figure|folder|lock file|worker|number|call|switch|slices?|scans?|findings?|words?"
CLIPPED = {
    rf"\b(?:a|an|one|\d[\d.]*) (?:{THINGS}|s|ms|MB|MFLOP) an? (?:{UNITS})\b": "say 'per' or 'for each'",
    r"\b(?:told|say|said) of (?:it|each|them)\b": "name what is stated",
    r"\bThe story of\b|\bthe house\b|\bat the door\b|\bcalls? home\b|\breports? home\b": "no private metaphors",
    r"\blook whether all\b|\bwhat is heavy\b|\bLIKE THOSE\b": "a noun for each 'what'",
}
OPENING = re.compile(r"(?:What|(?:Return|Yield|Tell|Say) what|(?:Tell|Say) whether)\b(?!.*\?$)")  # not of a question
ELLIPSIS = re.compile(r"\bha(?:s|ve) (?:a say|no say|one as)\b")
SENTENCE_END = re.compile(r"(?<![A-Z])(?<!al)(?<!vs)(?<!e\.g)(?<!i\.e)(?<!Fig)[.!?][`\"')\]*]* +(?=[A-Z`\[\"*])")


def clipped(line: str) -> list[str]:
    """Return the clipped phrases of a line, each with what to write instead."""
    found = [(match[0], advice) for rule, advice in CLIPPED.items() for match in re.finditer(rule, line)]
    return [f"'{phrase}': {advice}" for phrase, advice in found]


def prose_lines(text: str) -> list[tuple[int, str]]:
    """Return the numbered lines of a page outside code blocks, tables and comments."""
    lines, inside = [], False
    for number, line in enumerate(text.split(TABLES, maxsplit=1)[0].splitlines(), 1):
        fence = line.lstrip().startswith("```")
        inside ^= fence
        if not (inside or fence or line.lstrip().startswith(("|", "<!--", "!["))):
            lines.append((number, line))
    return lines


def layout(line: str) -> list[str]:
    """Return what is wrong with the length of a line of prose, or with its number of sentences."""
    faults = []
    bare = re.sub(r"<!-- .*?-->", "", re.sub(r"\]\([^)]*\)", "]", line))  # an address cannot be broken
    if len(bare) > MAX_LINE:
        faults.append(f"{len(bare)} characters, at most {MAX_LINE}")
    if not line.startswith("#") and SENTENCE_END.search(bare.lstrip(" -*0123456789.")):
        faults.append("one sentence on a line")
    return faults


def clauses(line: str) -> list[str]:
    """Return the "what" clause that a line opens with, and elliptic phrases outside quoted code."""
    words = [match[0] for match in (OPENING.match(line), ELLIPSIS.search(re.sub(r"`[^`]*`", "", line))) if match]
    return [f"'{word}': a noun for each 'what', and a whole sentence" for word in words]


def docstring_faults(path: Path) -> list[str]:
    """Return the clauses of the first lines of a Python file's docstrings, each with its line number."""
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef)
    documented = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, kinds)]
    texts = [(getattr(node, "lineno", 1), ast.get_docstring(node) or "") for node in documented]
    return [f"{number}: {fault}" for number, text in texts for fault in clauses(text.partition("\n")[0])]


def faults(page: Path, name: str) -> list[str]:
    """Return the faults of a page, each with its line number."""
    text = page.read_text()
    if name.startswith(LATER):
        return []
    by_hand = not any(mark in text[:700] for mark in GENERATED) or TABLES in text
    return [
        f"{number}: {fault}"
        for number, line in prose_lines(text)
        for fault in clipped(line) + (layout(line) + clauses(line) if by_hand else [])
    ]


def code_faults(path: Path) -> list[str]:
    """Return the clipped phrases of a Python file, each with its line number."""
    lines = enumerate(path.read_text().splitlines(), 1)
    return [f"{number}: {fault}" for number, line in lines for fault in clipped(line)]


if __name__ == "__main__":
    shown = [f"{path}:{fault}" for path in sys.argv[1:] for fault in faults(Path(path), path)]
    sys.exit("\n".join(shown) or 0)
