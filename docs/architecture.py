"""The picture of the packages and their imports: docs/reference/architecture.svg.

python docs/architecture.py           writes it
python docs/architecture.py --check   tells whether it shows the present contract and imports, and whether the table of
                                      docs/reference/architecture.md names the libraries that each package imports

The order of the packages is the contract of import-linter in pyproject.toml; the imports are read from the code.
"""

from __future__ import annotations

import ast
import re
import sys
from html import escape
from pathlib import Path

import grimp
from importlinter.api import read_configuration

ROOT = Path(__file__).resolve().parents[1]
PICTURE = Path(__file__).with_name("reference") / "architecture.svg"
ROW, CELL, TEXT_WIDTH, TOP, MARGIN = 34, 24, 712, 112, 12  # pixels
PAGE = PICTURE.with_suffix(".md")
PROJECTS = {
    "PIL": "Pillow",
    "distributed": "dask",
    "dask_jobqueue": "dask",
    "onnxscript": "onnx",
}
EVERYWHERE = {"numpy", "pydantic", "typing_extensions", "markupsafe", "NiiVue"}  # NiiVue is a script in a page
FONT = 'font-family="Helvetica, Arial, sans-serif"'


def layers() -> list[str]:
    """Return the packages, highest first."""
    contracts = read_configuration(str(ROOT / "pyproject.toml"))["contracts_options"]
    return next(list(contract["layers"]) for contract in contracts if contract["type"] == "layers")


def promise(package: str) -> str:
    """Return the first line of a package's docstring."""
    path = ROOT / "vae_loc" / package
    source = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return (ast.get_docstring(ast.parse(source.read_text())) or "").splitlines()[0]


def imports(packages: list[str]) -> set[tuple[str, str]]:
    """Return which package imports from which, directly."""
    graph = grimp.build_graph("vae_loc", cache_dir=None)
    for package in packages:
        graph.squash_module(f"vae_loc.{package}")
    return {
        (package, imported.removeprefix("vae_loc."))
        for package in packages
        for imported in graph.find_modules_directly_imported_by(f"vae_loc.{package}")
    }


def libraries(package: str) -> set[str]:
    """Return the projects of other people that a package imports."""
    trees = [ast.parse(path.read_text()) for path in (ROOT / "vae_loc" / package).rglob("*.py")]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module]
    tops = {name.split(".")[0] for name in names} - sys.stdlib_module_names - {"vae_loc"} - EVERYWHERE
    return {PROJECTS.get(top, top) for top in tops}


def table_faults() -> list[str]:
    """Return the rows of the page's table that do not name the libraries of their package."""
    faults = []
    for package, last in re.findall(r"^\| `(\w+)/` \|.*\| ([^|]*) \|$", PAGE.read_text(), re.M):
        named, imported = set(last.split(", ")) - EVERYWHERE - {"-"}, libraries(package)
        if named != imported:
            faults.append(f"{PAGE.relative_to(ROOT)}: {package} imports {', '.join(sorted(imported)) or '-'}")
    return faults


def picture() -> str:
    """Return the picture: a row for each package, a dot for each package that it imports from."""
    packages = layers()
    pairs = imports(packages)
    left = MARGIN + TEXT_WIDTH + MARGIN
    width, height = left + CELL * len(packages) + MARGIN, TOP + ROW * len(packages) + MARGIN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}">',
        "<title>The packages of vae_loc and their imports</title>",
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        f'<text x="{MARGIN}" y="28" {FONT} font-size="15" font-weight="bold">A package imports only from packages below it</text>',
        f'<text x="{MARGIN}" y="50" {FONT} font-size="12" fill="#444">A dot: the package of the row imports from the package of the column.</text>',
        f'<text x="{MARGIN}" y="68" {FONT} font-size="12" fill="#444">All dots lie right of the diagonal: nothing imports from above.</text>',
    ]
    for i, package in enumerate(packages):
        y = TOP + ROW * i
        x = left + CELL * i
        middle = y + ROW / 2
        parts += [
            f'<rect x="{MARGIN}" y="{y + 2}" width="{TEXT_WIDTH}" height="{ROW - 4}" rx="5" fill="#e8eefb" stroke="#5b7bb5"/>',
            f'<text x="{MARGIN + 9}" y="{middle + 5:g}" {FONT} font-size="13" font-weight="bold">{package}</text>',
            f'<text x="{MARGIN + 128}" y="{middle + 4:g}" {FONT} font-size="10">{escape(promise(package))}</text>',
            f'<rect x="{x}" y="{y}" width="{CELL}" height="{ROW}" fill="#c9d5ea"/>',
            f'<text transform="translate({x + CELL / 2 + 4:g} {TOP - 6}) rotate(-60)" {FONT} font-size="12">{package}</text>',
            f'<line x1="{left}" y1="{y + ROW}" x2="{width - MARGIN}" y2="{y + ROW}" stroke="#dddddd"/>',
        ]
        parts += [
            f'<circle cx="{left + CELL * j + CELL / 2:g}" cy="{middle:g}" r="5" fill="#c2410c"/>'
            for j, imported in enumerate(packages)
            if (package, imported) in pairs
        ]
    return "\n".join([*parts, "</svg>"]) + "\n"


def faults() -> list[str]:
    """Return a line if the picture is out of date, and the faults of the table."""
    current = PICTURE.read_text() if PICTURE.exists() else ""
    stale = "docs/reference/architecture.svg: out of date; run python docs/architecture.py"
    return ([] if current == picture() else [stale]) + table_faults()


if __name__ == "__main__":
    if "--check" in sys.argv[1:]:
        sys.exit("\n".join(faults()) or 0)
    PICTURE.write_text(picture())
