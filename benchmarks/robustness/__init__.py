"""Hostile inputs, failing disks and kills, and whether two checkouts give the same outputs."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2] / "tests"))  # of `support`, which writes small scans and datasets
