"""The cost of a scan by its kind, and what many scans cost on paper.

    python -m benchmarks.measured.cost -o docs/measured/cost.md

Each kind is segmented in a process of its own, once alone and then as a folder of copies. A scan beyond the first costs
the difference of the two, divided by their number. Then arithmetic tells the cost of cohorts.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

from benchmarks.command import finish, parser_of
from benchmarks.measured.speed import SAMPLES, child, machine

KINDS = {  # kind of scan -> sample scan and further arguments
    "stripped, 1 mm": ("patient07_t1", ()),
    "whole head, 2 mm": ("IXI012_t1", ("--brain-mask", "auto")),
    "whole head, 1 mm": ("crtut_t2", ()),
    "whole head, 1 mm, with --report": ("crtut_t2", ("--report",)),
}
COHORTS = (10_000, 1_000_000)
NODE_CPUS, NODE_GB = 32, 128  # of the node that the arithmetic is for


@dataclass(frozen=True)
class Cost:
    """CPU seconds of a first and of a further scan, peak memory, and bytes of the outputs of one scan, in MB."""

    first_s: float
    further_s: float
    peak_mb: float
    maps_mb: float
    others_mb: float


def measured(scan: str, arguments: tuple[str, ...], count: int) -> Cost:
    """Segment one scan, then a folder of copies."""
    with tempfile.TemporaryDirectory() as name:
        folder, found = Path(name), []
        for copies in (1, count):
            scans = folder / f"scans{copies}"
            scans.mkdir()
            for number in range(copies):
                (scans / f"s{number:03}_{scan[-2:]}.nii.gz").symlink_to(SAMPLES / f"{scan}.nii.gz")
            command = [sys.executable, "-m", "vae_loc", "segment", scans, "-o", folder / f"out{copies}", "--jobs", "1"]
            found.append(child(*command, *arguments))
        sizes = {path: path.stat().st_size / 1e6 for path in (folder / "out1").iterdir()}
        maps_mb = sum(size for path, size in sizes.items() if path.name.endswith(".nii.gz"))
        (first_s, _), (all_s, peak_mb) = found
        return Cost(first_s, (all_s - first_s) / (count - 1), peak_mb, maps_mb, sum(sizes.values()) - maps_mb)


def memory_curve(scan: str, arguments: tuple[str, ...], count: int) -> list[tuple[int, float]]:
    """Segment a folder of copies in one process; return scans done and memory in MB, at about ten moments."""
    with tempfile.TemporaryDirectory() as name:
        scans, out = Path(name) / "scans", Path(name) / "out"
        scans.mkdir()
        for number in range(count):
            (scans / f"s{number:03}_{scan[-2:]}.nii.gz").symlink_to(SAMPLES / f"{scan}.nii.gz")
        command = [sys.executable, "-m", "vae_loc", "segment", scans, "-o", out, "--jobs", "1", "--quiet", *arguments]
        process, peaks = subprocess.Popen(command), dict[int, float]()
        while process.poll() is None:
            time.sleep(0.02)
            status = Path(f"/proc/{process.pid}/status").read_text()
            if resident := re.search(r"VmRSS:\s+(\d+)", status):
                done = len(list(out.glob("*_scores.json")))
                peaks[done] = max(peaks.get(done, 0.0), int(resident[1]) / 1024)
        return [(done, peaks[done]) for done in sorted(peaks) if done % max(1, count // 10) == 0 and done < count]


def page(options: argparse.Namespace) -> Iterator[str]:
    """Yield the lines of the page."""
    yield "# What a scan costs\n"
    yield f"Made by `python -m benchmarks.measured.cost --scans {options.scans} --many {options.many}`: {machine()}."
    yield "Each row is `vae-loc segment` with one thread in one process; a busy machine inflates CPU seconds.\n"
    yield "| kind of scan | CPU s, first | CPU s, each further | peak memory, MB | volumes, MB per scan | other files, MB |"
    yield "|---|---|---|---|---|---|"
    costs = {kind: measured(scan, arguments, options.scans) for kind, (scan, arguments) in KINDS.items()}
    for kind, cost in costs.items():
        yield (
            f"| {kind} | {cost.first_s:.1f} | {cost.further_s:.2f} | {cost.peak_mb:.0f} "
            f"| {cost.maps_mb:.1f} | {cost.others_mb:.1f} |"
        )
    scan, arguments = KINDS["stripped, 1 mm"]
    yield f"\nMemory of one process while it segments {options.many} stripped scans, MB, after so many:\n"
    curve = memory_curve(scan, arguments, options.many)
    yield "| scans done | " + " | ".join(str(done) for done, _ in curve) + " |"
    yield "|---" * (len(curve) + 1) + "|"
    yield "| peak in the next scan, MB | " + " | ".join(f"{peak:.0f}" for _, peak in curve) + " |"
    yield "\n## Many scans, on paper\n"
    yield f"This is arithmetic on the table above, for nodes of {NODE_CPUS} CPUs and {NODE_GB} GB."
    yield "No cohort of this size was run."
    yield "A shard per node (`--shard`) or a dask cluster (`--scheduler`) runs them ([how](../how-to/cluster.md)).\n"
    yield "| scans | kind | CPU hours | hours on one node | memory of a node, GB | disk, GB | disk without volumes, GB |"
    yield "|---|---|---|---|---|---|---|"
    for scans in COHORTS:
        for kind, cost in costs.items():
            hours, jobs = scans * cost.further_s / 3600, min(NODE_CPUS, int(1000 * NODE_GB / cost.peak_mb))
            disk_gb, others_gb = (scans * mb / 1000 for mb in (cost.maps_mb + cost.others_mb, cost.others_mb))
            yield (
                f"| {scans:,} | {kind} | {hours:.0f} | {hours / jobs:.1f} | {jobs * cost.peak_mb / 1000:.0f} "
                f"| {disk_gb:,.0f} | {others_gb:,.0f} |"
            )
    yield "\n- Memory does not grow with the number of scans: a process has one scan at a time."
    yield "- The limits are the disk, and its number of files: five or more for each scan."
    yield "  vae-loc always writes the map; who needs none deletes `*_anomaly.nii.gz` of a shard when it is done."
    yield "  `--skip-existing` then scores these scans again, because their outputs are not whole."
    yield "- The table of a cohort and its page are written by one process at the end."
    yield "  A million rows are best left in shards."


def main() -> None:
    """Print and write the page."""
    parser = parser_of(__doc__, output=True)
    parser.add_argument("--scans", type=int, default=8, help="copies in a folder")
    parser.add_argument("--many", type=int, default=200, help="copies in the folder whose memory is watched")
    options = parser.parse_args()
    finish("\n".join(page(options)) + "\n", options.output)


if __name__ == "__main__":
    main()
