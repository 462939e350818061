"""Files on disk after a failing disk, and after SIGKILL at any moment.

    python -m benchmarks.robustness.crash faults            # every open, write, fsync and rename fails once
    python -m benchmarks.robustness.crash kills             # SIGKILL at each of them, and at random times
    python -m benchmarks.robustness.crash faults --library  # every call of the C library, those of ITK too

Each attempt starts in a fresh folder, every other one of score, segment and train with older outputs in place.
Afterwards every file is the old one or the one that an undisturbed run writes, byte for byte.
A failed run says one line, leaves no temporary file, and ends with a documented exit code.
The same command then succeeds, and removes what is temporary. Exit 1 on the first fault.
"""

from __future__ import annotations

import argparse
import errno
import io
import os
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import numpy as np
from support.bids import write_dataset
from support.corpus import BRAIN, raw_scan

from benchmarks.command import parser_of
from benchmarks.robustness.disturbed_calls import Calls, Fault, LibraryCalls, PythonCalls
from vae_loc.cli.app import main as command_line

EXIT_CODES = (0, 3, 4, 5)
OLD = b'{\n "schema_version": 1, "an older output'  # as a scores JSON begins, so that vae-loc takes it for its own
WITH_OLD = ("score", "segment", "train")
TINY = ["--latents", "2", "--image-size", "32", "--threads", "1", "--quiet"]
TIMES = (".csv", "cohort.html")  # of outputs that state how long the run took
SUBJECTS = 3


def run(arguments: Sequence[str]) -> tuple[int, str]:
    """Run the command line in this process; return exit code and stderr."""
    out, err = io.StringIO(), io.StringIO()
    sys.argv = ["vae-loc", *arguments]
    with redirect_stdout(out), redirect_stderr(err):
        try:
            command_line()
            code = 0
        except SystemExit as ended:
            code = int(ended.code or 0)
    return code, err.getvalue()


def commands(folder: Path) -> dict[str, list[str]]:
    """Return the commands by name."""
    model, out = f"{folder}/model.safetensors", f"{folder}/out"
    scored = [f"{folder}/healthy/s0_t1.nii", "-m", model, "-o", out, "--quiet"]
    return {
        "score": ["score", *scored],
        "segment": ["segment", *scored],
        "report": ["segment", *scored, "--report"],
        "calibrate": ["calibrate", model, "--healthy", f"{folder}/healthy", "-o", f"{out}/c.safetensors", "--quiet"],
        "train": ["train", f"{folder}/healthy", "-o", f"{out}/m.safetensors", "--epochs", "2", "--resume", *TINY],
        "bids": ["bids", f"{folder}/raw", out, "participant", "-m", model, "--quiet", "--jobs", "1"],
    }


def write_scans(folder: Path) -> None:
    """Write the healthy scans that the commands read."""
    folder.mkdir(parents=True)
    for number in range(SUBJECTS):
        scan = np.where(BRAIN > 0, BRAIN + 3 * number * np.sin(np.arange(BRAIN.shape[0]))[:, None, None], 0)
        (folder / f"s{number}_t1.nii").write_bytes(raw_scan(scan.astype(np.float32)))


def tiny_model(root: Path) -> Path:
    """Train a model in a moment, and return its file."""
    write_scans(root / "first")
    code, err = run(["train", f"{root}/first", "-o", f"{root}/model.safetensors", "--epochs", "1", *TINY])
    if code:
        raise AssertionError(err)
    return root / "model.safetensors"


class Attempt:
    """A command in a folder that is made anew for each attempt, always of the same name: outputs hold it."""

    def __init__(self, root: Path, model: Path, name: str, calls: Calls) -> None:
        self.folder, self.model, self.name, self.calls = root / "attempt", model, name, calls
        self.command, self.reference = commands(self.folder)[name], dict[str, bytes]()
        self.prepare(old=False)
        with calls.watched(self.folder, None) as self.counts:
            code, err = run(self.command)
        if code:
            raise AssertionError(f"{name}, undisturbed: {code} {err}")
        self.reference = self.written()

    def prepare(self, *, old: bool) -> None:
        """Make the folder anew, with older outputs where asked."""
        shutil.rmtree(self.folder, ignore_errors=True)
        write_scans(self.folder / "healthy")
        shutil.copy(self.model, self.folder / "model.safetensors")
        if self.name == "bids":
            write_dataset(self.folder / "raw")
        if old and self.name in WITH_OLD:
            (self.folder / "out").mkdir()
            for name in self.reference:
                (self.folder / "out" / name).write_bytes(OLD)

    def written(self) -> dict[str, bytes]:
        """Return the outputs whose bytes depend on nothing but the inputs."""
        out = self.folder / "out"
        files = {str(path.relative_to(out)): path for path in out.rglob("*") if path.is_file()}
        return {name: path.read_bytes() for name, path in files.items() if not name.endswith(TIMES)}

    def judge(self, where: str, *, killed: bool) -> None:
        """Refuse a file that is neither old nor new; after SIGKILL it may be temporary.

        The state of a training is not compared: the same command proves it.
        """
        for name, content in self.written().items():
            if name.endswith(".state.safetensors") or (killed and name.endswith(".tmp")):
                continue
            if content not in (OLD, self.reference.get(name)):
                raise AssertionError(f"{where}: {name} is neither old nor whole ({len(content)} bytes)")

    def again(self, where: str) -> None:
        """Run the command undisturbed, which must give the reference."""
        code, err = run(self.command)
        after = self.written()
        odd = [name for name in after.keys() | self.reference if after.get(name) != self.reference.get(name)]
        if code or odd:
            raise AssertionError(f"{where}: does not succeed afterwards: {code} {err}, differing {odd}")


def points(attempt: Attempt, step: int) -> Iterator[tuple[str, int]]:
    """Yield kind and number of every n-th call."""
    for kind in attempt.calls.kinds:
        for number in range(1, attempt.counts[kind] + 1, step):
            yield kind, number


def faults(attempt: Attempt, options: argparse.Namespace) -> int:
    """Let each call fail with one error after another; return how many failed."""
    outcomes: Counter[int] = Counter()
    for kind, number in points(attempt, options.step):
        for error in options.errors or attempt.calls.errors:
            attempt.prepare(old=outcomes.total() % 2 == 1)
            with attempt.calls.watched(attempt.folder, Fault(kind, number, getattr(errno, error))):
                code, err = run(attempt.command)
            where = f"{attempt.name}: {kind} {number} {error}: exit {code}, {err!r}"
            if code not in EXIT_CODES or (code and err.count("\n") != 1):
                raise AssertionError(where)
            stays = kind == "unlink"  # what cannot be removed stays; the next run removes it
            if not stays and (left := [name for name in attempt.written() if name.endswith(".tmp")]):
                raise AssertionError(f"{where} left {left}")
            attempt.judge(where, killed=stays)
            outcomes[code] += 1
            if outcomes.total() % options.rerun_every == 0:
                attempt.again(where)
    print(f"faults: {attempt.name}: calls {dict(attempt.counts)}, exit codes {dict(outcomes)}", flush=True)
    return outcomes.total()


def kills(attempt: Attempt, options: argparse.Namespace) -> int:
    """Kill a child of this process at each call, and at random times; return how many were killed."""
    attempt.prepare(old=False)
    began = time.monotonic()
    attempt.again("undisturbed")
    delays = np.random.default_rng(0).uniform(0, time.monotonic() - began, options.random)
    moments = [*(Fault(kind, number, None) for kind, number in points(attempt, options.step)), *map(float, delays)]
    for number, moment in enumerate(moments):
        attempt.prepare(old=number % 2 == 1)
        kill(attempt, moment)
        attempt.judge(f"{attempt.name}: killed at {moment}", killed=True)
        attempt.again(f"{attempt.name}: killed at {moment}")
    print(f"kills: {attempt.name}: calls {dict(attempt.counts)}, {len(moments)} points", flush=True)
    return len(moments)


def kill(attempt: Attempt, moment: Fault | float) -> None:
    """Run a command in a child that dies at a call, or that is killed after a delay in seconds."""
    child = os.fork()
    if child == 0:
        with attempt.calls.watched(attempt.folder, moment if isinstance(moment, Fault) else None):
            run(attempt.command)
        os._exit(0)
    if isinstance(moment, float):
        time.sleep(moment)
        os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


def main() -> None:
    """Try every command."""
    parser = parser_of(__doc__)
    parser.add_argument("what", choices=["faults", "kills"])
    parser.add_argument("--library", action="store_true", help="calls of the C library instead of Python's")
    parser.add_argument("--commands", nargs="+", choices=list(commands(Path())), help="default: all")
    parser.add_argument("--errors", nargs="+", help="names of errno; default: all that such a call may give")
    parser.add_argument("--step", type=int, default=1, help="try every n-th call of a kind only")
    parser.add_argument("--random", type=int, default=30, help="SIGKILLs at random times for each command")
    parser.add_argument("--rerun-every", type=int, default=1, help="after how many faults the command is run again")
    options = parser.parse_args()
    calls: Calls = LibraryCalls() if options.library else PythonCalls()
    import torch

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        model = tiny_model(root)
        began, total = time.monotonic(), 0
        for name in options.commands or commands(root):
            attempt = Attempt(root, model, name, calls)
            total += faults(attempt, options) if options.what == "faults" else kills(attempt, options)
        print(f"{options.what}: {total}, all as promised, {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
