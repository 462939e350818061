"""The paper's statements, Table 1 and Fig. 1 and 2 beside ours: `docs/reproduction/README.md`, from the runs beside it.

    python -m reproduction.paper docs/reproduction

It trains nothing: it reads `runs.csv` of the folders that `python -m reproduction` wrote. A few seconds.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from reproduction.paper.page import write_paper
from vae_loc.cli.console import say


def main() -> None:
    """Write the tables and the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="Folder of the experiments' folders and of README.md.")
    say("\n".join(map(str, write_paper(parser.parse_args().folder))))


if __name__ == "__main__":
    main()
