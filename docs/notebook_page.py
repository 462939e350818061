"""The notebook of the docs with its stored outputs, and the same as a page of the site.

python docs/notebook_page.py      runs docs/how-to/notebook.ipynb and stores its outputs; it takes about ten seconds
"""

from __future__ import annotations

import ast
import base64
import io
import json
import os
import tempfile
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOK = ROOT / "docs" / "how-to" / "notebook.ipynb"
JPEG_QUALITY = 80  # a picture in lossless PNG would be most of the repository's page
DOWNLOAD = '<a href="notebook.ipynb" download>This page as a notebook</a>'


def ran(notebook: dict[str, Any]) -> dict[str, Any]:
    """Return a notebook with the outputs of a run of its cells, in a folder like docs/how-to of a checkout."""
    known: dict[str, Any] = {}
    cells: list[dict[str, Any]] = []
    number, here = 0, Path.cwd()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "docs" / "how-to"
        folder.mkdir(parents=True)
        (Path(place) / "sample_data").symlink_to(ROOT / "sample_data")
        os.chdir(folder)
        try:
            for cell in notebook["cells"]:
                code = cell["cell_type"] == "code"
                number += code
                run = {"outputs": outputs(cell, number, known), "execution_count": number} if code else {}
                cells.append(cell | run)
        finally:
            os.chdir(here)
    return notebook | {"cells": cells}


def outputs(cell: dict[str, Any], number: int, known: dict[str, Any]) -> list[dict[str, Any]]:
    """Run a cell as Jupyter does: printed lines, then the value of a last expression."""
    lines = ast.parse("".join(cell["source"])).body
    last = lines.pop() if lines and isinstance(lines[-1], ast.Expr) else None
    printed = io.StringIO()
    with redirect_stdout(printed):
        exec(compile(ast.Module(lines, []), NOTEBOOK.name, "exec"), known)
        value = eval(compile(ast.Expression(last.value), NOTEBOOK.name, "eval"), known) if last else None
    found: list[dict[str, Any]] = []
    if printed.getvalue():
        found.append({"name": "stdout", "output_type": "stream", "text": printed.getvalue().splitlines(True)})
    if value is not None:
        result = {"data": shown(value), "execution_count": number, "metadata": {}, "output_type": "execute_result"}
        found.append(result)
    return found


def shown(value: object) -> dict[str, Any]:
    """Return a value as text, and a matplotlib figure as a JPEG picture too."""
    data: dict[str, Any] = {"text/plain": [repr(value)]}
    if hasattr(value, "savefig"):
        picture = io.BytesIO()
        value.savefig(picture, format="jpeg", pil_kwargs={"quality": JPEG_QUALITY})
        data = {"image/jpeg": base64.b64encode(picture.getvalue()).decode(), **data}
    return data


def page(notebook: dict[str, Any]) -> tuple[str, dict[str, bytes]]:
    """Return a notebook as Markdown, and its pictures by the names that the Markdown gives them."""
    parts: list[str] = []
    pictures: dict[str, bytes] = {}
    for cell in notebook["cells"]:
        text = "".join(cell["source"])
        parts.append(text if cell["cell_type"] == "markdown" else f"```python\n{text}\n```")
        for output in cell.get("outputs", []):
            data = output.get("data", {"text/plain": output.get("text", [])})
            if "image/jpeg" in data:
                name = f"notebook-{len(pictures) + 1}.jpg"
                pictures[name] = base64.b64decode(data["image/jpeg"])
                parts.append(f"![The figure that the lines above make]({name})")
            else:
                parts.append("```text\n" + "".join(data["text/plain"]).rstrip() + "\n```")
    return "\n\n".join([*parts, DOWNLOAD]) + "\n", pictures


if __name__ == "__main__":
    NOTEBOOK.write_text(json.dumps(ran(json.loads(NOTEBOOK.read_text())), indent=1, ensure_ascii=False) + "\n")
