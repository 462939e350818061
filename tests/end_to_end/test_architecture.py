"""The package keeps to docs/reference/architecture.md: the order of its packages, its sizes, and the bans."""

import ast
import doctest
import importlib
import subprocess
import sys
from pathlib import Path

import pytest
from support.places import ROOT

import vae_loc
from vae_loc.cli.app import app

PACKAGE = Path(vae_loc.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
FORBIDDEN = {
    "pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "yaml", "tarfile", "zipfile",
    "urllib", "urllib3", "requests", "httpx", "aiohttp", "socket", "ssl", "http", "ftplib", "smtplib", "xmlrpc",
    "telnetlib", "asyncio", "socketserver", "huggingface_hub", "gdown", "wget", "subprocess", "click", "ctypes",
    "onnxruntime",
}  # fmt: skip
# members of a zip are read into memory, never unpacked: tests/scans/test_dicom_files.py
# onnxruntime uploads events unless that is switched off before it is imported: one module does both
ALLOWED = {("scans.dicom_files", "zipfile"), ("system.onnx_runtime", "onnxruntime")}
BANNED_CALLS = {"eval", "exec", "compile", "__import__", "input", "os.system", "os.popen", "np.load", "numpy.load"}
BANNED_METHODS = ("torch.load", "torch.hub.load", ".extractall", ".unpack_archive", "load_state_dict_from_url",
                  ".loads_pickle", "yaml.load", "jit.load", "import_module", "os.execv", "os.spawnv")  # fmt: skip
MAX_BODY_LINES, MAX_MODULE_LINES, MAX_PARAMETERS, MAX_MODULES = 40, 300, 8, 15
COMMANDS = {command.callback.__name__ for command in app.registered_commands}
WITH_THE_SIGNATURE_OF_TORCH = {"_convolution_backward"}
NOT_MIRRORED = {"support", "end_to_end"}  # folders of tests


def name_of(path):
    """`reproduce.sweep` of `vae_loc/reproduce/sweep.py`; a file elsewhere goes by its own name."""
    inside = path.relative_to(PACKAGE) if path.is_relative_to(PACKAGE) else Path(path.name)
    return ".".join(inside.with_suffix("").parts)


def imports(path):
    """Yield the names of the modules that a file imports."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module


def functions(path):
    found = (ast.FunctionDef, ast.AsyncFunctionDef)
    return [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, found)]


def test_the_packages_keep_to_their_order():
    """The order is the contract of import-linter in pyproject.toml."""
    if not (ROOT / "vae_loc").is_dir():
        pytest.skip("needs a checkout")
    linter = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([linter, "--no-cache"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_no_module_imports_a_forbidden_library(path):
    found = {name.split(".")[0] for name in imports(path)} & FORBIDDEN
    assert {(name_of(path), library) for library in found} <= ALLOWED


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_nothing_is_unpickled_evaluated_unpacked_or_run(path):
    tree = ast.parse(path.read_text())
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        name = ast.unparse(call.func)
        assert name not in BANNED_CALLS, f"line {call.lineno}: {name}"
        assert not name.endswith(BANNED_METHODS), f"line {call.lineno}: {name}"
        for keyword in call.keywords:
            pair = keyword.arg, ast.unparse(keyword.value)
            assert pair not in (("shell", "True"), ("allow_pickle", "True"), ("weights_only", "False")), call.lineno


@pytest.mark.parametrize(
    "line",
    ["import pickle", "from urllib.request import urlopen", "import yaml", "torch.load(x)", "eval(x)", "exec(x)",
     "archive.extractall()", "run(x, shell=True)", "np.load(x, allow_pickle=True)", "yaml.load(x)", "import socket"],
)  # fmt: skip
def test_the_ban_sees_what_it_bans(line, tmp_path):
    (tmp_path / "cli.py").write_text(line + "\n")
    faults = 0
    for check in (test_no_module_imports_a_forbidden_library, test_nothing_is_unpickled_evaluated_unpacked_or_run):
        try:
            check(tmp_path / "cli.py")
        except AssertionError:
            faults += 1
    assert faults == 1


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_nothing_is_printed_but_by_the_console(path):
    calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    assert not [call for call in calls if isinstance(call.func, ast.Name) and call.func.id == "print"]


def body_lines(function):
    """Return the lines of a function's body, without signature and docstring."""
    body = function.body[1:] if ast.get_docstring(function) and len(function.body) > 1 else function.body
    return function.end_lineno - body[0].lineno + 1


def parameters(function):
    """Return the names of a function's parameters, without self and cls."""
    given = function.args
    every = [*given.posonlyargs, *given.args, given.vararg, *given.kwonlyargs, given.kwarg]
    return [one.arg for one in every if one is not None and one.arg not in ("self", "cls")]


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_modules_and_functions_stay_short(path):
    assert len(path.read_text().splitlines()) <= MAX_MODULE_LINES
    assert {one.name: body_lines(one) for one in functions(path) if body_lines(one) > MAX_BODY_LINES} == {}


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_functions_have_few_parameters(path):
    """A command has one for each of its options, and one function has the signature that PyTorch asks for."""
    free = WITH_THE_SIGNATURE_OF_TORCH | (COMMANDS if path.parent.name == "cli" else set())
    many = {one.name: parameters(one) for one in functions(path) if len(parameters(one)) > MAX_PARAMETERS}
    assert {name: names for name, names in many.items() if name not in free} == {}


@pytest.mark.parametrize("folder", sorted({path.parent for path in MODULES}), ids=lambda folder: folder.name)
def test_folders_stay_small(folder):
    modules = [path.name for path in folder.glob("*.py") if path.name != "__init__.py"]
    assert len(modules) <= MAX_MODULES


@pytest.mark.parametrize("name", [name_of(path) for path in MODULES if "__" not in path.stem])
def test_the_examples_in_docstrings_are_true(name):
    assert doctest.testmod(importlib.import_module(f"vae_loc.{name}")).failed == 0


@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.relative_to(ROOT / "tests").as_posix())
def test_no_test_imports_another_one(path):
    parts = {part for name in imports(path) for part in (name or "").split(".")}
    assert not [part for part in parts if part == "conftest" or part.startswith("test_")]


def test_each_test_module_mirrors_a_module():
    for path in TESTS:
        inside = path.relative_to(ROOT / "tests")
        if path.name.startswith("test_") and inside.parts[0] not in NOT_MIRRORED:
            assert (PACKAGE / inside.parent / path.name.removeprefix("test_")).is_file(), inside
