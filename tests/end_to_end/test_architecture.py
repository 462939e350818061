"""The house is as `docs/design.md` says: ranks, and what must not exist."""

import ast
import doctest
import importlib
from pathlib import Path

import pytest

import vae_loc

PACKAGE = Path(vae_loc.__file__).parent
RANKS = {
    "errors": 0, "signatures": 0, "threads": 0,
    "files": 1, "forms": 1, "ranks": 1, "events": 2, "cluster": 2, "workers": 2, "progress": 1, "vae": 1, "metrics": 1,
    "charts": 1, "graph": 1,
    "nifti": 2, "tensorfile": 2, "derive": 2, "digests": 2, "records": 2,
    "volume": 3,
    "register": 4, "normalise": 4,
    "brain": 4, "canonical": 5, "checkpoint": 4, "export": 5, "masks": 4, "spool": 4, "lesions": 4, "layers": 4,
    "slices": 6, "cohort": 5, "catalogue": 5, "dicomfiles": 6, "doctor": 6, "baselines": 6, "synthesis": 6,
    "dicom": 7, "dicomseg": 8, "scoring": 7, "training": 7, "labels": 6, "state": 6,
    "judge": 8,
    "locate": 9,
    "calibration": 10, "labelled": 10, "places": 10, "reliability": 10, "report": 10, "page": 10,
    "choose": 11, "outputs": 11, "intake": 11,
    "measure": 12, "bids": 12, "ledger": 12, "api": 12,
    "evaluation": 13, "cohortpage": 13,
    "figures": 14, "tables": 14,
    "batch": 15, "recipe": 15, "recalibrate": 15, "assess": 15,
    "reproduce.__init__": 0, "reproduce": 0, "reproduce.idx": 2, "reproduce.fashion_training": 2, "reproduce.sweep": 15,
    "reproduce.authors": 8, "reproduce.brain_training": 9, "reproduce.brain_data": 13, "reproduce.brain_measures": 14,
    "reproduce.pages": 16, "reproduce.fashion": 16, "reproduce.mixture": 16, "reproduce.brain": 16,
    "reproduce.faults": 17,
    "reproduce.fashion_page": 17, "reproduce.mixture_page": 17, "reproduce.brain_page": 17, "reproduce.faults_page": 18,
    "options": 16,
    "cli_dicom": 17, "cli_doctor": 17, "cli_cohort": 18,
    "cli_assess": 19, "cli_bids": 19, "cli_score": 19, "cli_reproduce": 20,
    "cli": 21, "__main__": 22, "__init__": 23,  # gives what lies below when it is asked for
}  # fmt: skip
FORBIDDEN = {
    "pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "yaml", "tarfile", "zipfile",
    "urllib", "urllib3", "requests", "httpx", "aiohttp", "socket", "ssl", "http", "ftplib", "smtplib", "xmlrpc",
    "telnetlib", "asyncio", "socketserver", "huggingface_hub", "gdown", "wget", "subprocess", "click", "ctypes",
}  # fmt: skip
ALLOWED = {("dicomfiles", "zipfile")}  # members are read into memory, never unpacked: test_dicom.py holds it to that
BANNED_CALLS = {"eval", "exec", "compile", "__import__", "input", "os.system", "os.popen", "np.load", "numpy.load"}
BANNED_METHODS = ("torch.load", "torch.hub.load", ".extractall", ".unpack_archive", "load_state_dict_from_url",
                  ".loads_pickle", "yaml.load", "jit.load", "import_module", "os.execv", "os.spawnv")  # fmt: skip


@pytest.mark.parametrize(
    "line",
    ["import pickle", "from urllib.request import urlopen", "import yaml", "torch.load(x)", "eval(x)", "exec(x)",
     "archive.extractall()", "run(x, shell=True)", "np.load(x, allow_pickle=True)", "yaml.load(x)", "import socket"],
)  # fmt: skip
def test_the_ban_sees_what_it_bans(line, tmp_path):
    (tmp_path / "cli.py").write_text(line + "\n")
    faults = 0
    for check in (test_a_module_imports_only_from_lower_ranks, test_nothing_is_unpickled_evaluated_unpacked_or_run):
        try:
            check(tmp_path / "cli.py")
        except AssertionError:
            faults += 1
    assert faults == 1


MODULES = sorted(PACKAGE.rglob("*.py"))


def name_of(path):
    """`reproduce.sweep` of `vae_loc/reproduce/sweep.py`; a file elsewhere goes by its own name."""
    inside = path.relative_to(PACKAGE) if path.is_relative_to(PACKAGE) else Path(path.name)
    return ".".join(inside.with_suffix("").parts)


def imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_imports_only_from_lower_ranks(path):
    for name in imports(path):
        if name == "vae_loc":
            continue
        if name.startswith("vae_loc."):
            assert RANKS[name.removeprefix("vae_loc.")] < RANKS[name_of(path)], f"{name_of(path)} imports {name}"
        library = name.split(".")[0]
        assert library not in FORBIDDEN or (path.stem, library) in ALLOWED


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


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_print_stands_only_in_the_command_line(path):
    calls = [n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Call)]
    assert not [c for c in calls if isinstance(c.func, ast.Name) and c.func.id == "print"]


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_modules_and_functions_stay_short(path):
    text = path.read_text()
    assert len(text.splitlines()) <= 300
    for function in (n for n in ast.walk(ast.parse(text)) if isinstance(n, ast.FunctionDef)):
        body = function.body[1:] if ast.get_docstring(function) and len(function.body) > 1 else function.body
        assert function.end_lineno - body[0].lineno < 40, function.name


@pytest.mark.parametrize("name", [name_of(path) for path in MODULES if "__" not in path.stem])
def test_the_examples_in_docstrings_are_true(name):
    assert doctest.testmod(importlib.import_module(f"vae_loc.{name}")).failed == 0
