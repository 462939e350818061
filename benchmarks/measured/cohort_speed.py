"""The cost of a cohort: scans per minute by worker processes, the share lost to all but scans, memory, and waiting.

python -m benchmarks.measured.cohort_speed --scans 24 --repeats 3 -o docs/measured/cohort-speed.md

The scans are copies of one sample scan: synthetic-mass_t1, 120x120x90, and patient07_t1, 182x218x182, each with a brain
mask, and crtut_t2, 156x175x146, whose brain is extracted. With dask, processes are workers of a cluster on this machine.
CPU times hold on a busy machine too; wall times, and scans per minute, only on an idle one.
"""

from __future__ import annotations

import csv
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from datetime import date, datetime
from pathlib import Path

from benchmarks.command import finish, parser_of
from benchmarks.measured.speed import AS_INSTALLED  # sets one BLAS thread, before numpy is imported

import numpy as np  # isort: skip

from benchmarks.page import table  # isort: skip

ROOT = Path(__file__).resolve().parents[2]
SAMPLES = {
    "2 mm head, 1.3 M voxels": "synthetic-mass_t1",
    "1 mm brain, 7.2 M voxels": "patient07_t1",
    "1 mm head, extracted": "crtut_t2",
}
ENVIRONMENT = AS_INSTALLED | {"OMP_NUM_THREADS": "1"}


def fill(folder: Path, sample: str, count: int) -> None:
    """Copy a sample scan `count` times, with its brain mask unless it is a T2."""
    import nibabel as nib

    folder.mkdir()
    scan = ROOT / "sample_data" / f"{sample}.nii.gz"
    mask = ROOT / "sample_data" / f"{sample.rpartition('_')[0]}_brainmask.nii.gz"
    contrast = sample.rpartition("_")[2]
    if not mask.exists() and contrast == "t1":
        image = nib.Nifti1Image.load(scan)
        mask = folder.parent / f"{sample}_mask.nii.gz"
        nib.save(nib.Nifti1Image((np.asarray(image.dataobj) > 0).astype(np.uint8), image.affine), mask)
    for number in range(count):
        shutil.copy(scan, folder / f"s{number:03}_{contrast}.nii.gz")
        if contrast == "t1":
            shutil.copy(mask, folder / f"s{number:03}_brainmask.nii.gz")


class Peak(threading.Thread):
    """Of a session's processes, while they live: the largest resident set of each, in MB, and its CPU time, in s."""

    def __init__(self, session: int) -> None:
        super().__init__(daemon=True)
        self.session, self.peaks_mb, self.cpu_s = session, {}, {}

    def run(self) -> None:
        """Look until the session has ended."""
        while Path(f"/proc/{self.session}").exists():
            for place in Path("/proc").glob("[0-9]*"):
                try:
                    fields = (place / "stat").read_text().rpartition(")")[2].split()
                    if int(fields[3]) == self.session:
                        self.cpu_s[place.name] = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
                        status = (place / "status").read_text()
                        self.peaks_mb[place.name] = int(status.split("VmHWM:")[1].split()[0]) / 1024
                except (OSError, IndexError, ValueError):
                    continue
            time.sleep(0.1)


def run(folder: Path, place: Path, jobs: int, *further: str) -> dict[str, float]:
    """Score a folder once; return seconds and MB."""
    out, log = place / "out", place / "log.jsonl"
    shutil.rmtree(out, ignore_errors=True)
    log.unlink(missing_ok=True)
    command = [sys.executable, "-m", "vae_loc", "score", folder, "-o", out, "--jobs", jobs, "--quiet"]
    command += ["--log-json", log, *further]
    began = time.perf_counter()
    process = subprocess.Popen([*map(str, command)], env=ENVIRONMENT, start_new_session=True)
    peak = Peak(process.pid)
    peak.start()
    assert process.wait() == 0
    wall = time.perf_counter() - began
    events = [json.loads(line) for line in log.read_text().splitlines()]
    times = [datetime.fromisoformat(event["time"]).timestamp() for event in events]
    with open(out / "cohort.csv", newline="") as file:
        seconds = [float(row["seconds"]) for row in csv.DictReader(file)]
    return {
        "wall": wall,
        "scans": len(seconds),
        "busy": sum(seconds),
        "start": wall - (times[-1] - times[0]),
        "lost": 1 - sum(seconds) / (jobs * wall),
        "cpu": sum(peak.cpu_s.values()),
        "median": statistics.median(seconds),
        "peak_mb": max(peak.peaks_mb.values()),
    }


def waiting(folder: Path, place: Path, count: int) -> dict[str, tuple[float, float]]:
    """Return (wall, CPU) seconds a scan of reading, scoring and writing in one process, files not in the page cache."""
    from vae_loc.model.network import load_model
    from vae_loc.results.earlier_outputs import earlier_outputs
    from vae_loc.results.output_names import folder_names
    from vae_loc.results.scan_outputs import write_outputs
    from vae_loc.results.scan_summary import Inputs
    from vae_loc.scans.cases import find_cases
    from vae_loc.scans.volume import read_volume
    from vae_loc.scoring.score_options import ScoreOptions
    from vae_loc.system.onnx_runtime import set_threads

    set_threads(1)
    cases = find_cases([folder])[: count + 1]
    model = load_model(cases[0].scan.name.removesuffix(".nii.gz").rpartition("_")[2])
    names = folder_names(place / "phases", scans=[], methods=1)
    options, inputs = ScoreOptions(), Inputs(scan="", brain_mask=None)
    spent: dict[str, list[tuple[float, float]]] = {"reading": [], "scoring": [], "writing": []}

    def timed(name: str, work):
        wall, cpu = time.perf_counter(), time.process_time()
        found = work()
        spent[name].append((time.perf_counter() - wall, time.process_time() - cpu))
        return found

    for case in cases:
        for path in filter(None, (case.scan, case.brain_mask)):
            with open(path, "rb") as file:
                os.fsync(file.fileno())
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        volume = timed("reading", lambda case=case: read_volume(case.scan))
        located = timed("scoring", lambda case=case, volume=volume: _located(volume, model, case.brain_mask))
        earlier = earlier_outputs(names, case.scan, options, inputs)
        given = located, model, options, inputs, earlier
        timed("writing", lambda given=given: write_outputs(*given))
    return {name: tuple(np.median(rows[1:], axis=0)) for name, rows in spent.items()}  # the first one warms up


def _located(volume, model, mask):
    """Read the mask, locate, and make the maps on the scan's grid, which is done when they are first asked for."""
    from vae_loc.preprocessing.brain_mask import find_brain
    from vae_loc.preprocessing.open_scan import Scan
    from vae_loc.scoring.locate import locate
    from vae_loc.scoring.score_options import ScoreOptions

    located = locate(Scan(volume, *find_brain(volume, mask or "auto")), model, ScoreOptions(force=True))
    assert located.maps
    return located


COLUMNS = [
    "scan",
    "scans",
    "processes",
    "scans per minute",
    "lost, wall",
    "CPU s per scan",
    "lost, CPU",
    "peak MB per process",
]
WORDS = """
Medians over runs, and their range. Load of the machine: {load:.1f}.

- Lost, wall: the share of processes x wall time in which no scan is read, scored or written.
  This time goes to the start, imports, the table, and the end, when one process has no scan left.
- Lost, CPU: the share of the CPU time of all processes above that of the second table.

"""
WAITING = """
One process; the files of a scan are not in the page cache.
Waiting is the time that reading the next scan and writing the last one, while one is scored, could gain.

"""


def page(found: dict[str, dict[str, list[dict[str, float]]]], phases: dict[str, dict[str, tuple[float, float]]]) -> str:
    """Return the page."""
    facts = Path("/proc/cpuinfo").read_text().splitlines()
    cpu = next((line.split(": ")[1].strip() for line in facts if line.startswith("model name")), "")
    rows = []
    for sample, by_jobs in found.items():
        needed = sum(cpu_s for _, cpu_s in phases[sample].values())
        for jobs, runs in by_jobs.items():
            rate = [60 * run["scans"] / run["wall"] for run in runs]
            cpu_s = statistics.median(run["cpu"] / run["scans"] for run in runs)
            cells = [
                f"{runs[0]['scans']:g}",
                jobs,
                f"{statistics.median(rate):.1f} ({min(rate):.1f} to {max(rate):.1f})",
            ]
            cells += [
                f"{statistics.median(run['lost'] for run in runs):.1%}",
                f"{cpu_s:.2f}",
                f"{1 - needed / cpu_s:.1%}",
            ]
            rows.append([sample, *cells, f"{max(run['peak_mb'] for run in runs):.0f}"])
    waits = [
        [sample, name, f"{wall:.3f}", f"{cpu_s:.3f}", f"{max(0, wall - cpu_s):.3f}"]
        for sample, parts in phases.items()
        for name, (wall, cpu_s) in parts.items()
    ]
    return (
        "# The cost of a cohort\n\n"
        f"Made by `python -m benchmarks.measured.cohort_speed {' '.join(sys.argv[1:])}`.\n"
        f"{date.today()}, {len(os.sched_getaffinity(0))} CPUs ({cpu}), Python {platform.python_version()}."
        + WORDS.format(load=os.getloadavg()[2])
        + table(COLUMNS, rows)
        + WAITING
        + table(["scan", "part", "wall, s", "CPU, s", "waiting, s"], waits)
    )


def main() -> None:
    """Measure, and write the page."""
    parser = parser_of(__doc__, output=True)
    parser.add_argument("--scans", type=int, default=24)
    parser.add_argument("--jobs", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    found, phases = {}, {}
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        for number, (sample, scan) in enumerate(SAMPLES.items()):
            folder = place / f"in{number}"
            fill(folder, scan, options.scans)
            ways = {str(jobs): (jobs,) for jobs in options.jobs}
            ways[f"{options.jobs[-1]}, dask"] = (options.jobs[-1], "--scheduler", "dask")
            found[sample] = {way: [] for way in ways}
            for _ in range(options.repeats):  # turn by turn, so that a slow minute touches all
                for way, how in ways.items():
                    found[sample][way].append(run(folder, place, *how))
            phases[sample] = waiting(folder, place, min(8, options.scans - 1))
    text = page(found, phases)
    finish(text, options.output)


if __name__ == "__main__":
    main()
