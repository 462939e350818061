"""The house is as `docs/design.md` says: ranks, and what must not exist."""

import ast
from pathlib import Path

import pytest

import vae_loc

PACKAGE = Path(vae_loc.__file__).parent
RANKS = {
    "__init__": 0, "errors": 0, "progress": 0,
    "volume": 1, "vae": 1,
    "brain": 2, "canonical": 2, "checkpoint": 2, "masks": 2,
    "slices": 3, "cohort": 3, "catalogue": 3,
    "scoring": 4, "training": 4,
    "locate": 5,
    "calibration": 6, "report": 6,
    "outputs": 7,
    "recipe": 8,
    "cli": 9, "__main__": 10,
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
