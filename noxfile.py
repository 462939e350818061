"""One command for each thing that a developer does: `nox -l` lists them, `nox -s check` runs one.

Sessions run in the present environment (`pip install -e '.[dev,docs]'`). `.ci/run` is the authority, and calls them.
"""

import os
import re
import sys
import tempfile
from pathlib import Path

import nox

ROOT = Path(__file__).parent
MAX_WHEEL_BYTES = 100_000_000  # PyPI's limit for a file
CODE = ("vae_loc", "reproduction", "tests", "benchmarks", "extras", "noxfile.py")
PROSE = ("*.md", "docs", "models", "sample_data/README.md", *CODE)
nox.options.sessions = ["check", "docs"]


@nox.session(python=False)
def check(session: nox.Session) -> None:
    """Lint, types, the order of the packages, links, generated pages, prose and spelling."""
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("mypy")
    session.run("lint-imports")
    session.run(sys.executable, "docs/check.py")
    pages = [str(path.relative_to(ROOT)) for pattern in PROSE for path in sorted(ROOT.glob(pattern))]
    session.run("codespell", *pages)


@nox.session(python=False)
def tests(session: nox.Session) -> None:
    """Run the quick tests, or those that pytest's arguments choose: `nox -s tests -- --full tests/scans -k nifti`."""
    session.run("pytest", *session.posargs)


@nox.session(python=False)
def docs(session: nox.Session) -> None:
    """Build the site of the docs into site/; `nox -s docs -- serve` shows it while you write."""
    arguments = session.posargs or ["build", "--strict", "--quiet"]
    session.run("mkdocs", *arguments, env={"NO_MKDOCS_2_WARNING": "1"})


@nox.session(python=False)
def generate(session: nox.Session) -> None:
    """Write all pages and pictures that are made from the code, and format the code."""
    session.run("ruff", "format", ".")
    for script in ("reference", "schemas", "architecture", "decisions", "notebook_page"):
        session.run(sys.executable, f"docs/{script}.py")


@nox.session(python=False)
def package(session: nox.Session) -> None:
    """Build sdist and wheel, check their metadata and size, and run the wheel outside the checkout."""
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        session.run(sys.executable, "-m", "build", "--outdir", name, ".", silent=True)  # the wheel from the sdist
        built = sorted(path for path in place.iterdir() if path.suffix in (".whl", ".gz"))
        session.run("twine", "check", "--strict", *map(str, built))
        wheel = next(path for path in built if path.suffix == ".whl")
        for path in built:
            session.log(f"{path.name}: {path.stat().st_size / 1e6:.1f} MB")
        if wheel.stat().st_size >= MAX_WHEEL_BYTES:
            session.error(f"{wheel.name}: expected less than {MAX_WHEEL_BYTES} bytes, got {wheel.stat().st_size}")
        session.run(sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", f"{name}/lib", str(wheel))
        with session.chdir(name):
            here = {"PYTHONPATH": f"{name}/lib"}
            where = "import vae_loc, sys; sys.exit(not vae_loc.__file__.startswith(sys.argv[1]))"
            session.run(sys.executable, "-c", where, name, env=here)
            session.run(sys.executable, "-m", "vae_loc", "info", "t1", env=here, silent=True)


@nox.session(python=False)
def audit(session: nox.Session) -> None:
    """Optional: look up known faults of the installed packages (needs a network and `.[audit]`)."""
    session.run("pip-audit", "--skip-editable", *session.posargs)


@nox.session(python=False)
def sbom(session: nox.Session) -> None:
    """Optional: write the bill of materials of the present environment to sbom.json (needs `.[audit]`)."""
    session.run(
        "cyclonedx-py", "environment", "--output-file", "sbom.json", "--pyproject", "pyproject.toml", sys.executable
    )


@nox.session(python=False)
def lock(session: nox.Session) -> None:
    """Pin what the scoring image installs, with hashes (needs a network and Python 3.11)."""
    session.run(sys.executable, "docker/lock.py")


@nox.session(python=False)
def measured(session: nox.Session) -> None:
    """Tell how old each page of figures is, and make some anew, or all `due`: `nox -s measured -- cost speed`."""
    said = {"silent": True, "log": False, "external": True}
    for page in sorted((ROOT / "docs/measured").glob("*.md")):
        made = str(session.run("git", "log", "-1", "--format=%h", "--", str(page), **said)).strip()
        newer = session.run("git", "rev-list", "--count", f"{made}..HEAD", "--", "vae_loc", "models", **said)
        behind = int(str(newer))
        session.log(f"{page.stem}: written at {made}; commits of package and models since: {behind}")
        if page.stem in session.posargs or (session.posargs == ["due"] and behind):
            command = re.search(r"`python (-m benchmarks\.[^`]*?)( -o [^`]*)?`", page.read_text())
            output = [] if page.with_suffix(".csv").exists() else ["-o", str(page)]  # that of ablation grows by rows
            session.run(sys.executable, *command[1].split(), *output, env={"OMP_NUM_THREADS": "1"})


@nox.session(python=False)
def ci(session: nox.Session) -> None:
    """Run everything, in fresh environments, as CI does. It takes about 25 minutes."""
    session.run("bash", ".ci/run", env={**os.environ})
