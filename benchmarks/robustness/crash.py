"""What is on disk after a failing disk, and after SIGKILL at any moment.

python -m benchmarks.robustness.crash faults   # every open, write, fsync and rename of score and train fails once
python -m benchmarks.robustness.crash kills    # SIGKILL before and after each of them, and at random times

Each attempt starts in a fresh folder, every other one with older outputs in place. Afterwards every file must
be whole: the old one or the one that an undisturbed run writes, byte for byte; a failed run says one line,
leaves no temporary file, and ends with a documented exit code; the same command then succeeds. Exit 1 on the first fault.
"""

from __future__ import annotations

import argparse
import builtins
import errno
import io
import os
import shutil
import signal
import sys
import tempfile
import time
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import numpy as np
from support.corpus import BRAIN, raw_scan

from vae_loc.cli.app import main as command_line

OPERATIONS = ("open", "write", "fsync", "replace")
ERRORS = (errno.EIO, errno.ENOSPC, errno.EACCES)
EXIT_CODES = (0, 3, 4, 5)
OLD = b'{\n "schema_version": 1, "an older output'  # as a scores JSON begins, so that vae-loc takes it for its own
TINY = ["--latents", "2", "--image-size", "32", "--threads", "1", "--quiet"]
SUBJECTS = 3


class Disturbed:
    """A context in which the n-th call of an operation on a file of ours is disturbed; a class because it counts.

    Files outside `folder` (fonts, package metadata) are left alone. `act(name, call)` does the call, or not.
    """

    def __init__(self, folder: Path, act) -> None:
        self._folder, self._act, self._originals = str(folder), act, {}

    def __enter__(self):
        for module, name, operation in (
            (os, "open", "open"), (builtins, "open", "open"), (io, "open", "open"),
            (os, "write", "write"), (os, "fsync", "fsync"), (os, "replace", "replace"),
        ):  # fmt: skip
            original = getattr(module, name)
            self._originals[module, name] = original
            setattr(module, name, self._wrapped(original, operation))
        return self

    def _wrapped(self, original, operation):
        def call(target, *arguments, **options):
            if isinstance(target, int) and operation == "write" and target <= 2:
                return original(target, *arguments, **options)
            if not isinstance(target, int) and not os.fspath(target).startswith(self._folder):
                return original(target, *arguments, **options)
            return self._act(operation, lambda: original(target, *arguments, **options))

        return call

    def __exit__(self, *_):
        for (module, name), original in self._originals.items():
            setattr(module, name, original)


def run(arguments: list[str]) -> tuple[int, str]:
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


def prepare(folder: Path, model: Path | None) -> None:
    """Write the inputs of all three commands."""
    healthy = folder / "healthy"
    healthy.mkdir(parents=True)
    for number in range(SUBJECTS):
        scan = np.where(BRAIN > 0, BRAIN + 3 * number * np.sin(np.arange(BRAIN.shape[0]))[:, None, None], 0)
        (healthy / f"s{number}_t1.nii").write_bytes(raw_scan(scan.astype(np.float32)))
    if model is not None:
        shutil.copy(model, folder / "model.safetensors")


def tiny_model(root: Path) -> Path:
    """Train a model in a moment, and return its file."""
    prepare(root / "first", None)
    model = root / "model.safetensors"
    code, err = run(["train", f"{root}/first/healthy", "-o", str(model), "--epochs", "1", *TINY])
    if code:
        raise AssertionError(err)
    return model


def commands(folder: Path) -> dict[str, list[str]]:
    scored = [f"{folder}/healthy/s0_t1.nii", "-m", f"{folder}/model.safetensors", "-o", f"{folder}/out", "--quiet"]
    return {
        "score": ["score", *scored],
        "segment": ["segment", *scored],
        "train": [
            "train",
            f"{folder}/healthy",
            "-o",
            f"{folder}/out/m.safetensors",
            "--epochs",
            "2",
            "--resume",
            *TINY,
        ],
    }


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())} if folder.exists() else {}


def judge(out: Path, reference: dict[str, bytes], *, killed: bool) -> None:
    """Every file is old, new, or (after SIGKILL) temporary; a training's state is proved by itself when it is resumed."""
    for name, content in contents(out).items():
        temporary = name.startswith(".vae-loc-") and name.endswith(".tmp")
        if temporary and killed:
            continue
        if name.endswith(".state.safetensors"):
            continue
        if content not in (OLD, reference.get(name)):
            raise AssertionError(f"{name} is neither old nor whole ({len(content)} bytes)")


def fresh(root: Path, model: Path | None, reference: dict[str, bytes], with_old: bool) -> Path:
    """Return the one folder of every attempt: its name is in the outputs, so it is always the same."""
    folder = root / "attempt"
    shutil.rmtree(folder, ignore_errors=True)
    prepare(folder, model)
    if with_old:
        (folder / "out").mkdir()
        for name in reference:
            (folder / "out" / name).write_bytes(OLD)
    return folder


def undisturbed(root: Path, model: Path | None, name: str) -> tuple[dict[str, bytes], dict[str, int]]:
    """Return what a command writes, and how many operations of each kind it makes."""
    counts = dict.fromkeys(OPERATIONS, 0)

    def count(operation, call):
        counts[operation] += 1
        return call()

    folder = fresh(root, model, {}, False)
    with Disturbed(folder, count):
        code, err = run(commands(folder)[name])
    if code:
        raise AssertionError(err)
    return contents(folder / "out"), counts


def again(folder: Path, name: str, reference: dict[str, bytes]) -> None:
    code, err = run(commands(folder)[name])
    if code or contents(folder / "out") != reference:
        raise AssertionError(f"{name} does not succeed afterwards: {code} {err} {list(contents(folder / 'out'))}")


def faults(root: Path, model: Path, names: list[str], errors, step: int, rerun_every: int) -> int:
    total = 0
    for name in names:
        reference, counts = undisturbed(root, model, name)
        outcomes: dict[int, int] = {}
        for operation in OPERATIONS:
            for number in range(0, counts[operation], step):
                for code_wanted in errors:
                    total += 1
                    folder = fresh(root, model, reference, with_old=total % 2 == 0)
                    code, err = one_fault(folder, name, operation, number, code_wanted)
                    where = f"{name}: {operation} {number} {errno.errorcode[code_wanted]}: exit {code}, {err!r}"
                    left = contents(folder / "out")
                    if code not in EXIT_CODES or (code and err.count("\n") != 1):
                        raise AssertionError(where)
                    if any(left_name.endswith(".tmp") for left_name in left):
                        raise AssertionError(f"{where} left {list(left)}")
                    judge(folder / "out", reference, killed=False)
                    outcomes[code] = outcomes.get(code, 0) + 1
                    if total % rerun_every == 0:
                        again(folder, name, reference)
        print(f"faults: {name}: operations {counts}, exit codes {outcomes}")
    return total


def one_fault(folder: Path, name: str, operation: str, number: int, code: int) -> tuple[int, str]:
    seen = 0

    def act(called, call):
        nonlocal seen
        if called == operation:
            seen += 1
            if seen == number + 1:
                raise OSError(code, os.strerror(code))
        return call()

    with Disturbed(folder, act):
        return run(commands(folder)[name])


def kills(root: Path, model: Path, names: list[str], step: int, random_points: int) -> int:
    total = 0
    rng = np.random.default_rng(0)
    for name in names:
        reference, counts = undisturbed(root, model, name)
        start = time.monotonic()
        again(fresh(root, model, reference, with_old=False), name, reference)
        lasting_s = time.monotonic() - start
        operations = sum(counts.values())
        points = [(index, after, None) for index in range(0, operations, step) for after in (False, True)]
        points += [(None, None, float(delay)) for delay in rng.uniform(0, lasting_s, random_points)]
        for point in points:
            total += 1
            folder = fresh(root, model, reference, with_old=total % 2 == 0)
            kill_at(folder, name, point)
            judge(folder / "out", reference, killed=True)
            again(folder, name, reference)
        print(f"kills: {name}: {len(points)} points")
    return total


def kill_at(folder: Path, name: str, point: tuple) -> None:
    """Run a command in a child that dies at an operation, or that is killed after a delay."""
    index, after, delay_s = point
    child = os.fork()
    if child == 0:
        seen = 0

        def act(_, call):
            nonlocal seen
            seen += 1
            if seen == (index or 0) + 1 and index is not None:
                if after:
                    call()
                os.kill(os.getpid(), signal.SIGKILL)
            return call()

        with Disturbed(folder, act):
            run(commands(folder)[name])
        os._exit(0)
    if delay_s is not None:
        time.sleep(delay_s)
        os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["faults", "kills"])
    parser.add_argument("--commands", nargs="+", default=None)
    parser.add_argument("--errors", nargs="+", default=[errno.errorcode[code] for code in ERRORS])
    parser.add_argument("--step", type=int, default=1, help="try every n-th operation only")
    parser.add_argument("--random", type=int, default=30, help="SIGKILLs at random times, a command")
    parser.add_argument("--rerun-every", type=int, default=1, help="after how many faults the command is run again")
    options = parser.parse_args()
    import torch

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        model = tiny_model(root)
        began = time.monotonic()
        if options.what == "faults":
            errors = [getattr(errno, name) for name in options.errors]
            names = options.commands or ["score", "train"]
            total = faults(root, model, names, errors, options.step, options.rerun_every)
        else:
            total = kills(root, model, options.commands or ["score", "segment", "train"], options.step, options.random)
        print(f"{options.what}: {total}, all as promised, {time.monotonic() - began:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
