"""A failing disk, and SIGKILL, at the calls of the C library: those of nibabel, safetensors, ITK and all others too.

    python -m benchmarks.robustness.library_faults faults             # every call fails once, with each error
    python -m benchmarks.robustness.library_faults kills              # SIGKILL at every call
    python -m benchmarks.robustness.library_faults faults --step 7 --commands score report

`crash.py` disturbs Python's own calls; this loads a library before the C library (needs `cc` and Linux) in which
open, read, write, fsync, rename, mkdir and unlink of files below the attempt's folder fail, or kill the process.
What must hold is the same: every file is the old one or whole; a failed run says one line, leaves no temporary file and
ends with a documented exit code; the same command then succeeds, and removes what is temporary.
Where a file cannot be removed it stays until then. EINTR may also be without any consequence.
"""

from __future__ import annotations

import argparse
import ctypes
import errno
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from support.bids import write_dataset

from benchmarks.robustness.crash import EXIT_CODES, TINY, prepare, run, tiny_model

SOURCE = Path(__file__).with_suffix(".c")
KINDS = ("open", "read", "write", "fsync", "rename", "mkdir", "unlink")
ERRORS = ("EIO", "ENOSPC", "EACCES", "EINTR")
TIMES = (".csv", "cohort.html")  # of outputs that say how long the run took


def arguments(folder: Path) -> dict[str, list[list[str]]]:
    """Return the commands by name: all but the last are run before the disturbed one."""
    scan, model, out = f"{folder}/healthy/s0_t1.nii", f"{folder}/model.safetensors", f"{folder}/out"
    scored = [scan, "-m", model, "-o", out, "--quiet"]
    segment = ["segment", *scored, "--report"]
    return {
        "score": [["score", *scored]],
        "segment": [segment],
        "report": [segment, ["report", out, "-m", model, "--quiet", "--fpr", "0.1"]],
        "calibrate": [["calibrate", model, "--healthy", f"{folder}/healthy", "-o", f"{out}/c.safetensors", "--quiet"]],
        "train": [["train", f"{folder}/healthy", "-o", f"{out}/m.safetensors", "--epochs", "2", "--resume", *TINY]],
        "bids": [["bids", f"{folder}/raw", out, "participant", "-m", model, "--quiet", "--jobs", "1"]],
    }


class Attempt:
    """A command in a folder that is made anew for each attempt, always of the same name."""

    def __init__(self, root: Path, model: Path, name: str) -> None:
        self.folder, self.model, self.name = root / "attempt", model, name
        *self.before, self.command = arguments(self.folder)[name]
        self.disturb(-1, 0, 0, kills=False)
        code, err = run(self.command)
        if code:
            raise AssertionError(f"{name}, undisturbed: {code} {err}")
        self.counts = {kind: LIBRARY.fault_seen(number) for number, kind in enumerate(KINDS)}
        self.reference = self.written()

    def disturb(self, kind: int, number: int, error: int, *, kills: bool) -> dict[str, bytes]:
        """Prepare the folder and arm the library; return what lies there already."""
        LIBRARY.fault_arm(b"", -1, ctypes.c_long(0), 0, 0)
        subprocess.run(["rm", "-rf", str(self.folder)], check=True)
        prepare(self.folder, self.model)
        if self.name == "bids":
            write_dataset(self.folder / "raw")
        for command in self.before:
            run(command)
        older = self.written()
        LIBRARY.fault_arm(str(self.folder).encode(), kind, ctypes.c_long(number), error, kills)
        return older

    def written(self) -> dict[str, bytes]:
        """Return the outputs whose bytes depend on nothing but the inputs."""
        LIBRARY.fault_arm(b"", -1, ctypes.c_long(0), 0, 0)
        out = self.folder / "out"
        files = {str(path.relative_to(out)): path for path in out.rglob("*") if path.is_file()}
        return {name: path.read_bytes() for name, path in files.items() if not name.endswith(TIMES)}

    def judge(self, where: str, older: dict[str, bytes], *, killed: bool) -> None:
        """Every file is old, new, or (after SIGKILL) temporary; then the same command succeeds."""
        for name, content in self.written().items():
            if name.endswith(".state.safetensors") or (killed and name.endswith(".tmp")):
                continue
            if content not in (older.get(name), self.reference.get(name)):
                raise AssertionError(f"{where}: {name} is neither old nor whole ({len(content)} bytes)")
        code, err = run(self.command)
        after = self.written()
        odd = [name for name in after.keys() | self.reference if after.get(name) != self.reference.get(name)]
        if code or odd:
            raise AssertionError(f"{where}: does not succeed afterwards: {code} {err}, differing {odd}")


def points(attempt: Attempt, step: int) -> Iterator[tuple[int, int]]:
    """Yield kind and number of every n-th call."""
    for kind, name in enumerate(KINDS):
        for number in range(1, attempt.counts[name] + 1, step):
            yield kind, number


def faults(attempt: Attempt, step: int, errors: list[str]) -> int:
    """Let each call fail with one error after another."""
    outcomes: Counter[int] = Counter()
    for kind, number in points(attempt, step):
        for name in errors:
            older = attempt.disturb(kind, number, getattr(errno, name), kills=False)
            code, err = run(attempt.command)
            where = f"{attempt.name}: {KINDS[kind]} {number} {name}: exit {code}, {err!r}"
            if code not in EXIT_CODES or (code and err.count("\n") != 1):
                raise AssertionError(where)
            stays = KINDS[kind] == "unlink"  # what cannot be removed stays; the next run removes it
            if not stays and (left := [file for file in attempt.written() if file.endswith(".tmp")]):
                raise AssertionError(f"{where} left {left}")
            attempt.judge(where, older, killed=stays)
            outcomes[code] += 1
    print(f"faults: {attempt.name}: calls {attempt.counts}, exit codes {dict(outcomes)}", flush=True)
    return outcomes.total()


def kills(attempt: Attempt, step: int, _: list[str]) -> int:
    """Kill a child of this process at each call."""
    total = 0
    for kind, number in points(attempt, step):
        older = attempt.disturb(kind, number, 0, kills=True)
        child = os.fork()
        if child == 0:
            run(attempt.command)
            os._exit(0)
        os.waitpid(child, 0)
        attempt.judge(f"{attempt.name}: killed at {KINDS[kind]} {number}", older, killed=True)
        total += 1
    print(f"kills: {attempt.name}: calls {attempt.counts}, {total} points", flush=True)
    return total


def main() -> None:
    """Begin again with the library loaded, then try every command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["faults", "kills"])
    parser.add_argument("--commands", nargs="+", choices=list(arguments(Path())))
    parser.add_argument("--errors", nargs="+", choices=ERRORS, default=list(ERRORS))
    parser.add_argument("--step", type=int, default=1, help="try every n-th call only")
    options = parser.parse_args()
    act: Callable[[Attempt, int, list[str]], int] = faults if options.what == "faults" else kills
    import torch

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        model = tiny_model(root)
        began, total = time.monotonic(), 0
        for name in options.commands or arguments(root):
            total += act(Attempt(root, model, name), options.step, options.errors)
        print(f"{options.what}: {total}, all as promised, {time.monotonic() - began:.0f} s")


def preloaded() -> ctypes.CDLL:
    """Return the library, after starting this program again with it where it is not loaded."""
    if "VAE_LOC_FAULTS" not in os.environ:
        library = Path(tempfile.mkdtemp()) / "faults.so"
        subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", str(library), str(SOURCE), "-ldl"], check=True)
        os.environ |= {"LD_PRELOAD": str(library), "VAE_LOC_FAULTS": str(library)}
        os.execv(sys.executable, [sys.executable, "-m", "benchmarks.robustness.library_faults", *sys.argv[1:]])
    return ctypes.CDLL(os.environ["VAE_LOC_FAULTS"])


if __name__ == "__main__":
    LIBRARY = preloaded()
    main()
