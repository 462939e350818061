"""Do two checkouts make the same files of the sample scans? Maps, masks and pictures by the byte, scores by value.

    git worktree add /tmp/before v0.5.0
    python -m benchmarks.robustness.same_outputs /tmp/before .

Versions, the version of the schema and how long a scan took may differ; SHA-256 of files that hold them are left out too.
"""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.command import parser_of

SAMPLES = Path(__file__).resolve().parents[2] / "sample_data"
RUNS = {  # folder of the outputs -> arguments
    "all-maps": ["score", "scans", "--method", "all"],
    "raw": ["score", "scans", "--raw", "--percentile", "--polarity", "dark"],
    "masks": ["segment", "scans", "--method", "all", "--fpr", "0.02", "--report"],
    "processes": [
        "segment",
        "scans",
        "--jobs",
        "2",
        "--threshold",
        "2.5",
        "--min-size",
        "50mm3",
        "--polarity",
        "bright",
    ],
    "one": ["segment", "scans/patient07_flair.nii.gz", "-m", "flair", "--brain-mask", "auto"],
}
MAY_DIFFER = {"versions", "schema_version", "files", "model"}  # of the JSON; the model's own digest is compared apart
MAY_DIFFER_COLUMNS = {"seconds", "schema_version"}


def run(checkout: Path, folder: Path) -> None:
    """Score the sample scans by the code of a checkout."""
    shutil.copytree(SAMPLES, folder / "scans")
    environment = os.environ | {"PYTHONPATH": str(checkout.resolve())}
    for name, arguments in RUNS.items():
        command = [sys.executable, "-m", "vae_loc", *arguments, "-o", name, "--quiet"]
        subprocess.run(command, cwd=folder, env=environment, check=True)


def content(path: Path) -> object:
    """Return the part of a file that must be equal."""
    if path.suffix == ".json":
        stated = json.loads(path.read_text())
        return {key: value for key, value in stated.items() if key not in MAY_DIFFER} | {
            "digest": stated.get("model", {}).get("sha256")
        }
    if path.suffix == ".csv":
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file))
        return [{key: value for key, value in row.items() if key not in MAY_DIFFER_COLUMNS} for row in rows]
    if path.suffix == ".html":
        return None  # holds the versions; the tests look at it
    return path.read_bytes()


def main() -> int:
    """Compare; 1 if anything differs."""
    parser = parser_of(__doc__)
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    parser.add_argument("--keep", type=Path, help="a folder that keeps the outputs of `before`, or has them already")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        sides = [options.keep or Path(work) / "before" / "run", Path(work) / "after" / "run"]
        for side, checkout in zip(sides, (options.before, options.after), strict=True):
            if not (side / "scans").exists():
                side.mkdir(parents=True, exist_ok=True)
                run(checkout, side)
        names = [{path.relative_to(side) for path in side.rglob("*") if path.is_file()} for side in sides]
        odd = [f"only in one: {name}" for name in sorted(names[0] ^ names[1])]
        both = sorted(names[0] & names[1])

        def paths_of(text: object) -> object:
            return (
                json.loads(json.dumps(text).replace(str(sides[0]), "RUN").replace(str(sides[1]), "RUN"))
                if isinstance(text, (dict, list))
                else text
            )

        odd += [
            f"differs: {name}"
            for name in both
            if paths_of(content(sides[0] / name)) != paths_of(content(sides[1] / name))
        ]
        kinds = {suffix: sum(name.suffix == suffix for name in both) for suffix in (".gz", ".png", ".json", ".csv")}
        print("\n".join(odd) or "no difference", f"({', '.join(f'{n} {kind}' for kind, n in kinds.items())})")
    return bool(odd)


if __name__ == "__main__":
    sys.exit(main())
