"""The command line that the scripts share: their docstring as help, the shared scans, the page that is written."""

from __future__ import annotations

import argparse
import platform
from pathlib import Path


def parser_of(
    doc: str | None, *, shared: bool = False, output: bool = False, models: bool = False
) -> argparse.ArgumentParser:
    """Return the parser of a script whose help is its docstring.

    Parameters
    ----------
    shared : whether it reads real scans, whose folder is `--shared`
    output : whether it writes a page, `-o`
    models : whether it takes other models than the shipped ones, `--models`
    """
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    if shared:
        parser.add_argument("--shared", type=Path, default=Path("../shared/data"), help="folder of the real scans")
    if output:
        parser.add_argument("-o", "--output", type=Path, help="page that is written")
    if models:
        parser.add_argument("--models", type=Path, default=Path("models"), help="folder of t1, t2 and flair")
    return parser


def finish(text: str, output: Path | None) -> None:
    """Print a page, and write it where a file is named."""
    print(text)
    if output is not None:
        output.write_text(text)


def made_by(module: str, *, arguments: str = "", seed: bool = True) -> str:
    """Return the sentence that names the command of a page, its seed and the machine."""
    import torch

    command = " ".join(["python -m", module, *([arguments] if arguments else [])])
    return (
        f"Made by `{command}`;{' seed 0,' if seed else ''} one thread, {platform.machine()}, torch {torch.__version__}."
    )


def reading(doc: str | None) -> str:
    """Return a docstring without its title and its commands: the introduction of the script's page.

    >>> reading("Title.\\n\\n    python -m it\\n\\nOne thread.\\n")
    'One thread.\\n'
    """
    return (doc or "").split("\n\n", 2)[2]
