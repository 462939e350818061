"""The package keeps to docs/reference/architecture.md: the order of its packages, its sizes, and the bans."""

import ast
import doctest
import importlib
import subprocess
import sys
from collections import Counter
from functools import cache
from pathlib import Path

import pytest
from support.places import ROOT

import vae_loc
from reproduction.__main__ import app as experiments
from vae_loc.cli.app import app

PACKAGE = Path(vae_loc.__file__).parent
BESIDE = ROOT / "reproduction"  # held to the same rules, and not installed
MODULES = sorted([*PACKAGE.rglob("*.py"), *BESIDE.rglob("*.py")])
TESTS = sorted((ROOT / "tests").rglob("*.py"))
FORBIDDEN = {
    "pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "yaml", "tarfile", "zipfile",
    "urllib", "urllib3", "requests", "httpx", "aiohttp", "socket", "ssl", "http", "ftplib", "smtplib", "xmlrpc",
    "telnetlib", "asyncio", "socketserver", "huggingface_hub", "gdown", "wget", "subprocess", "click", "ctypes",
    "onnxruntime",
}  # fmt: skip
# members of a zip are read into memory, never unpacked: tests/scans/test_dicom_files.py
# onnxruntime uploads events unless that is switched off before it is imported: one module does both
ALLOWED = {("vae_loc.scans.dicom_files", "zipfile"), ("vae_loc.system.onnx_runtime", "onnxruntime")}
BANNED_CALLS = {"eval", "exec", "compile", "__import__", "input", "os.system", "os.popen", "np.load", "numpy.load"}
BANNED_METHODS = ("torch.load", "torch.hub.load", ".extractall", ".unpack_archive", "load_state_dict_from_url",
                  ".loads_pickle", "yaml.load", "jit.load", "import_module", "os.execv", "os.spawnv")  # fmt: skip
BANNED_KEYWORDS = {("shell", "True"), ("allow_pickle", "True"), ("weights_only", "False")}
NAMES_FOR_ANYTHING = {"utils", "helpers", "common", "managers", "types", "misc"}
MAX_BODY_LINES, MAX_MODULE_LINES, MAX_PARAMETERS, MAX_MODULES = 40, 300, 8, 15
COMMANDS = {command.callback.__name__ for program in (app, experiments) for command in program.registered_commands}
WITH_THE_SIGNATURE_OF_TORCH = {"_convolution_backward"}
# a command and what it calls; and the version of each kind of file
OF_SEVERAL_MODULES = {"evaluate", "export", "main", "segment", "SCHEMA_VERSION"}
NOT_MIRRORED = {"support", "end_to_end"}  # folders of tests


def name_of(path):
    """`vae_loc.scans.cases` of `vae_loc/scans/cases.py`; a file elsewhere goes by its own name."""
    root = next((folder.parent for folder in (PACKAGE, BESIDE) if path.is_relative_to(folder)), path.parent)
    return ".".join(path.relative_to(root).with_suffix("").parts)


@cache
def tree(path):
    return ast.parse(path.read_text())


def imports(path):
    """Yield the names of the modules that a file imports."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module


def functions(path):
    found = (ast.FunctionDef, ast.AsyncFunctionDef)
    return [node for node in ast.walk(tree(path)) if isinstance(node, found)]


def test_the_packages_keep_to_their_order():
    """The order is the contract of import-linter in pyproject.toml."""
    if not (ROOT / "vae_loc").is_dir():
        pytest.skip("needs a checkout")
    linter = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([linter, "--no-cache"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def forbidden(path):
    """Return the forbidden libraries that a file imports."""
    found = {name.split(".")[0] for name in imports(path)} & FORBIDDEN
    return [library for library in found if (name_of(path), library) not in ALLOWED]


def banned(path):
    """Return the calls of a file that unpickle, evaluate, unpack or run something, each with its line."""
    calls = [node for node in ast.walk(tree(path)) if isinstance(node, ast.Call)]
    names = [(call, ast.unparse(call.func)) for call in calls]
    pairs = [(call, word.arg, ast.unparse(word.value)) for call in calls for word in call.keywords]
    return [
        *[f"{call.lineno}: {name}" for call, name in names if name in BANNED_CALLS or name.endswith(BANNED_METHODS)],
        *[f"{call.lineno}: {name}={value}" for call, name, value in pairs if (name, value) in BANNED_KEYWORDS],
    ]


def in_modules(faults):
    """Return the faults of each module that has one."""
    return {name_of(path): found for path in MODULES if (found := faults(path))}


def test_no_module_imports_a_forbidden_library():
    assert in_modules(forbidden) == {}


def test_nothing_is_unpickled_evaluated_unpacked_or_run():
    assert in_modules(banned) == {}


@pytest.mark.parametrize(
    "line",
    ["import pickle", "from urllib.request import urlopen", "import yaml", "torch.load(x)", "eval(x)", "exec(x)",
     "archive.extractall()", "run(x, shell=True)", "np.load(x, allow_pickle=True)", "yaml.load(x)", "import socket"],
)  # fmt: skip
def test_the_ban_sees_what_it_bans(line, tmp_path):
    (tmp_path / "cli.py").write_text(line + "\n")
    assert bool(forbidden(tmp_path / "cli.py")) != bool(banned(tmp_path / "cli.py"))


def printed(path):
    calls = [node for node in ast.walk(tree(path)) if isinstance(node, ast.Call)]
    return [call.lineno for call in calls if isinstance(call.func, ast.Name) and call.func.id == "print"]


def test_nothing_is_printed_but_by_the_console():
    assert in_modules(printed) == {}


def body_lines(function):
    """Return the lines of a function's body, without signature and docstring."""
    body = function.body[1:] if ast.get_docstring(function) and len(function.body) > 1 else function.body
    return function.end_lineno - body[0].lineno + 1


def parameters(function):
    """Return the names of a function's parameters, without self and cls."""
    given = function.args
    every = [*given.posonlyargs, *given.args, given.vararg, *given.kwonlyargs, given.kwarg]
    return [one.arg for one in every if one is not None and one.arg not in ("self", "cls")]


def test_modules_stay_short():
    assert in_modules(lambda path: len(path.read_text().splitlines()) > MAX_MODULE_LINES) == {}


def test_functions_stay_short():
    assert in_modules(lambda path: [one.name for one in functions(path) if body_lines(one) > MAX_BODY_LINES]) == {}


def test_functions_have_few_parameters():
    """A command has one for each of its options, and one function has the signature that PyTorch asks for."""

    def many(path):
        free = WITH_THE_SIGNATURE_OF_TORCH | (COMMANDS if path.parent.name in ("cli", BESIDE.name) else set())
        return [one.name for one in functions(path) if len(parameters(one)) > MAX_PARAMETERS and one.name not in free]

    assert in_modules(many) == {}


def test_folders_stay_small():
    modules = Counter(path.parent for path in MODULES if path.name != "__init__.py")
    assert [folder.name for folder, count in modules.items() if count > MAX_MODULES] == []


def test_no_folder_or_module_has_a_name_for_anything():
    parts = {part for path in MODULES for part in name_of(path).split(".")}
    assert parts & NAMES_FOR_ANYTHING == set()


def defined(path):
    """Yield the public names that a module defines at its top level."""
    for node in tree(path).body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        names = [name.id for target in targets if target for name in ast.walk(target) if isinstance(name, ast.Name)]
        yield from (name for name in [getattr(node, "name", "_"), *names] if not name.startswith("_"))


def test_a_public_name_is_defined_in_one_module():
    inside = [path for path in MODULES if path.is_relative_to(PACKAGE) and path.name != "__init__.py"]
    modules = Counter(name for path in inside for name in set(defined(path)))
    assert {name for name, count in modules.items() if count > 1} <= OF_SEVERAL_MODULES


def test_the_examples_in_docstrings_are_true():
    names = [name_of(path) for path in MODULES if "__" not in path.stem]
    assert [name for name in names if doctest.testmod(importlib.import_module(name)).failed] == []


def test_no_test_imports_another_one():
    parts = {(path.name, part) for path in TESTS for name in imports(path) for part in (name or "").split(".")}
    assert [(name, part) for name, part in parts if part == "conftest" or part.startswith("test_")] == []


def test_each_test_module_mirrors_a_module():
    for path in TESTS:
        inside = path.relative_to(ROOT / "tests")
        if path.name.startswith("test_") and inside.parts[0] not in NOT_MIRRORED:
            own = inside.parent / path.name.removeprefix("test_")
            assert (PACKAGE / own).is_file() or (ROOT / own).is_file(), inside
