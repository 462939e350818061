"""Numbers in pages that are compared with the code.

A number of a page with a comment behind it is compared with the constant, or the result of the function, that the
comment names: `0.1<!-- vae_loc.scoring.score_options:DEFAULT_FALSE_FINDINGS -->`, `4<!-- module:PAIR[0] -->`.
Of a list the length is compared, and a percentage with a share.
"""

from __future__ import annotations

import json
import re
from importlib import import_module
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
COMMENT = re.compile(r"<!-- [\w.]+:\w+.*?-->")
MARK = re.compile(r"(-?\d[\d.,]*(?:e-?\d+)?)( ?%)?<!-- ([\w.]+):(\w+)(?:\[(\w+)\])? -->")
FINDING = re.compile(r"^crtut_t2\.nii\.gz: .*strongest: (?:about )?([\d.]+) ml", re.M)


def finding_ml() -> float:
    """Return the volume of the stroke in ml that the README shows; a test compares it with the command's output."""
    match = FINDING.search((ROOT / "README.md").read_text())
    return float(match[1]) if match else float("nan")


def model_mb() -> dict[str, float]:
    """Return the size of each shipped model's file in MB."""
    return {path.stem: path.stat().st_size / 1e6 for path in (ROOT / "models").glob("*.safetensors")}


def learned_people() -> int:
    """Return the number of people that the shipped T1 network learned from."""
    return len(json.loads((ROOT / "models" / "t1.training.json").read_text())["training_subjects"])


def value(module: str, name: str, key: str | None) -> float:
    """Return the number of the code that a mark names; raise AttributeError, ImportError or LookupError if none is."""
    found = getattr(import_module(module), name)
    found = found() if callable(found) else found
    if key is not None:
        found = found[int(key) if key.isdigit() else key]
    return float(len(found) if hasattr(found, "__len__") else found)


def fault(number: str, percent: str, mark: str, true: float) -> str | None:
    """Return the fault of a stated number; None if it is the true one, rounded to the digits that are stated."""
    digits = len(number.partition(".")[2]) if "e" not in number else 9
    true = round(true * (100 if percent else 1), digits)
    return None if float(number.replace(",", "")) == true else f"states {number}{percent}, {mark} is {true:g}"


def faults(page: Path) -> list[str]:
    """Return the stated numbers of a page that are not those of the code, each with its line number."""
    found: list[str | None] = []
    for line_number, line in enumerate(page.read_text().splitlines(), 1):
        marks = list(MARK.finditer(line))
        if len(marks) != len(COMMENT.findall(line)):
            found.append(f"{line_number}: expected NUMBER<!-- module:NAME --> of each mark")
        for number, percent, module, name, key in (mark.groups() for mark in marks):
            try:
                wrong = fault(number, percent or "", f"{module}:{name}", value(module, name, key))
            except (AttributeError, ImportError, LookupError) as error:
                wrong = f"{module}:{name}: {error}"
            found.append(wrong and f"{line_number}: {wrong}")
    return [one for one in found if one]
