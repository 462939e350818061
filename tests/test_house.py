"""The house is as `docs/design.md` says: ranks, and what must not exist."""

import ast
import doctest
import importlib
from pathlib import Path

import pytest

import vae_loc

PACKAGE = Path(vae_loc.__file__).parent
RANKS = {
    "__init__": 0, "errors": 0, "signatures": 0,
    "files": 1, "forms": 1, "progress": 1, "vae": 1, "metrics": 1,
    "nifti": 2,
    "volume": 3,
    "register": 4, "normalise": 4,
    "brain": 4, "canonical": 5, "checkpoint": 4, "masks": 4, "spool": 4, "lesions": 4,
    "slices": 6, "cohort": 5, "catalogue": 5, "baselines": 6, "synthesis": 6,
    "scoring": 7, "training": 7, "labels": 6,
    "locate": 8,
    "calibration": 9, "labelled": 9, "reliability": 9, "report": 9,
    "choose": 10, "outputs": 10,
    "measure": 11,
    "evaluation": 12,
    "figures": 13, "tables": 13,
    "batch": 14, "recipe": 14, "recalibrate": 14, "assess": 14,
    "options": 15,
    "cli_assess": 16,
    "cli": 17, "__main__": 18,
}  # fmt: skip
FORBIDDEN = {"pickle", "yaml", "urllib", "requests", "socket", "http", "click", "subprocess"}


def imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module


@pytest.mark.parametrize("path", sorted(PACKAGE.glob("*.py")), ids=lambda p: p.stem)
def test_a_module_imports_only_from_lower_ranks(path):
    for name in imports(path):
        if name == "vae_loc":
            continue
        if name.startswith("vae_loc."):
            assert RANKS[name.split(".")[1]] < RANKS[path.stem], f"{path.stem} imports {name}"
        assert name.split(".")[0] not in FORBIDDEN


@pytest.mark.parametrize("path", sorted(PACKAGE.glob("*.py")), ids=lambda p: p.stem)
def test_nothing_is_unpickled_or_evaluated(path):
    text = path.read_text()
    for banned in ("torch.load", "eval(", "exec(", "shell=True"):
        assert banned not in text.replace(".eval()", "")


@pytest.mark.parametrize("path", sorted(PACKAGE.glob("*.py")), ids=lambda p: p.stem)
def test_print_stands_only_in_the_command_line(path):
    calls = [n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Call)]
    assert not [c for c in calls if isinstance(c.func, ast.Name) and c.func.id == "print"]


@pytest.mark.parametrize("path", sorted(PACKAGE.glob("*.py")), ids=lambda p: p.stem)
def test_modules_and_functions_stay_short(path):
    text = path.read_text()
    assert len(text.splitlines()) <= 300
    for function in (n for n in ast.walk(ast.parse(text)) if isinstance(n, ast.FunctionDef)):
        body = function.body[1:] if ast.get_docstring(function) and len(function.body) > 1 else function.body
        assert function.end_lineno - body[0].lineno < 40, function.name


@pytest.mark.parametrize("name", sorted(path.stem for path in PACKAGE.glob("[a-z]*.py")))
def test_the_examples_in_docstrings_are_true(name):
    assert doctest.testmod(importlib.import_module(f"vae_loc.{name}")).failed == 0
