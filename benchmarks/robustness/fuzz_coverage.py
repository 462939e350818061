"""Coverage-guided fuzzing of every reader: each input is read or refused by one exception class.

    pip install '.[fuzz]'
    python -m benchmarks.robustness.fuzz_coverage --fixed                     # the same inputs each time, about three minutes
    python -m benchmarks.robustness.fuzz_coverage --seconds 180               # three minutes in all
    python -m benchmarks.robustness.fuzz_coverage --seconds 28800 --corpus c  # a night; `c` keeps what reached new code

Targets: a NIfTI file, a DICOM file in a folder, a CSV table of scans, a BIDS dataset, a model. The fuzzer is atheris
(libFuzzer), which sees the branches taken in vae_loc and in the libraries that parse. An input that takes more than 1 s
of CPU time or 30 s in all, or that takes the process above 2 GB (libraries and instrumentation included), stops the
campaign, as does any other exception; the input is kept under the name that libFuzzer prints.
"""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

from benchmarks.command import parser_of

TARGETS = ("nifti", "dicom", "table", "bids", "model")
INSTRUMENTED = {
    "nifti": ["vae_loc.scans", "nibabel.nifti1", "nibabel.volumeutils"],
    "dicom": ["vae_loc.scans", "pydicom.filereader", "pydicom.valuerep", "highdicom.volume"],
    "table": ["vae_loc.scans", "vae_loc.system", "csv"],
    "bids": ["vae_loc.scans", "vae_loc.system", "json"],
    "model": ["vae_loc.model", "vae_loc.system"],
}
# of `--fixed`, with one seed and one order of sets: CI tries the same each time, and a night tries the rest
FIXED_INPUTS = {"nifti": 300_000, "dicom": 8_000, "table": 200_000, "bids": 200_000, "model": 300_000}
MAX_BYTES, MAX_CPU_S, MAX_SECONDS, MAX_MB = 200_000, 1, 30, 2000  # seconds in all: others may have the processor
TABLE = "scan,mask,subject,contrast\np1_t1.nii.gz,,p1,t1\n'=1+1',p1_mask.nii.gz,p2,\n"


def nifti_target(folder: Path) -> tuple[Callable[[bytes], None], list[bytes]]:
    """Read a scan from a file; the first byte of an input chooses its name's ending."""
    from benchmarks.robustness.fuzz import seeds
    from vae_loc.scans.volume import read_volume

    def one(data: bytes) -> None:
        path = folder / ("x.nii.gz" if data[:2] == b"\x1f\x8b" else "x.nii")
        path.write_bytes(data)
        read_volume(path)

    return one, seeds(folder)


def dicom_target(folder: Path) -> tuple[Callable[[bytes], None], list[bytes]]:
    """Convert a folder whose second file is the input."""
    import pydicom
    from pydicom.data import get_testdata_file

    from vae_loc.scans.dicom_series import convert_dicom

    name = get_testdata_file("MR_small.dcm", download=False)
    image = pydicom.dcmread(name)
    first = folder / "series" / "a.dcm"
    first.parent.mkdir()
    image.save_as(first)
    image.SOPInstanceUID += ".1"
    image.ImagePositionPatient = [
        float(v) + step for v, step in zip(image.ImagePositionPatient, (0, 0, 5), strict=True)
    ]
    second = io.BytesIO()
    image.save_as(second)

    def one(data: bytes) -> None:
        first.with_name("b.dcm").write_bytes(data)
        with tempfile.TemporaryDirectory(dir=folder) as out:
            for fault in convert_dicom([first.parent], Path(out)).faults.values():
                raise fault

    return one, [second.getvalue(), Path(name).read_bytes()]


def table_target(folder: Path) -> tuple[Callable[[bytes], None], list[bytes]]:
    """Read a table of scans."""
    from vae_loc.scans.cases import find_cases

    (folder / "p1_t1.nii.gz").write_bytes(b"")

    def one(data: bytes) -> None:
        (folder / "scans.csv").write_bytes(data)
        find_cases([folder / "scans.csv"])

    return one, [TABLE.encode(), TABLE.encode("utf-16"), b"\xef\xbb\xbf" + TABLE.encode()]


def bids_target(folder: Path) -> tuple[Callable[[bytes], None], list[bytes]]:
    """Read a dataset: the first line of an input is a file name in it, the rest its description."""
    from vae_loc.results.score_bids import bids_cases

    def one(data: bytes) -> None:
        with tempfile.TemporaryDirectory(dir=folder) as place:
            root = Path(place)
            name, _, description = data.partition(b"\n")
            (root / "dataset_description.json").write_bytes(description)
            anat = root / "sub-1" / "anat"
            anat.mkdir(parents=True)
            safe = re.sub(rb"[/\x00]", b"", name)[:200]
            if safe not in (b"", b".", b".."):
                Path(os.fsdecode(os.fsencode(anat) + b"/" + safe)).write_bytes(b"")
            bids_cases(root, contrast=None)

    return one, [b'sub-1_T1w.nii.gz\n{"Name": "x", "BIDSVersion": "1.9.0"}', b"sub-1_FLAIR.nii\n[]"]


def model_target(folder: Path) -> tuple[Callable[[bytes], None], list[bytes]]:
    """Load a model whose SHA-256 is mended first, so that the rest is reached."""
    from benchmarks.robustness.fuzz import model_seeds, signed
    from vae_loc.model.checkpoint import load_checkpoint

    def one(data: bytes) -> None:
        path = folder / "x.safetensors"
        path.write_bytes(signed(data))
        load_checkpoint(path)

    return one, model_seeds(folder)[1:2]


def fuzz(target: str, seconds: int | None, corpus: Path | None) -> None:
    """Fuzz one reader for some seconds, or with its fixed number of inputs; never returns."""
    import atheris

    with atheris.instrument_imports(include=INSTRUMENTED[target]):
        from vae_loc.errors import VaeLocError

        folder = Path(tempfile.mkdtemp(dir="/dev/shm" if os.path.isdir("/dev/shm") else None))
        tried, seeds = globals()[f"{target}_target"](folder)
    kept = corpus / target if corpus else folder / "corpus"
    kept.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds):
        (kept / f"seed-{number}").write_bytes(seed)

    def one(data: bytes) -> None:
        began = time.process_time()
        try:
            tried(data)
        except VaeLocError as error:
            if "\n" in str(error) or "\x1b" in str(error):
                raise AssertionError(f"more than one line: {error!r}") from error
        if (spent := time.process_time() - began) > MAX_CPU_S:
            raise AssertionError(f"took {spent:.1f} s of CPU time")

    warnings.simplefilter("ignore")
    limits = [
        f"-max_total_time={seconds}" if seconds else f"-runs={FIXED_INPUTS[target]}",
        f"-max_len={MAX_BYTES}",
        f"-timeout={MAX_SECONDS}",
        f"-rss_limit_mb={MAX_MB}",
    ]
    atheris.Setup([sys.argv[0], str(kept), *limits, "-seed=1", "-print_final_stats=1", "-verbosity=0"], one)
    atheris.Fuzz()


def main() -> int:
    """Fuzz all targets one after another; 1 on the first surprise."""
    parser = parser_of(__doc__)
    parser.add_argument("--seconds", type=int, default=180, help="for all targets together")
    parser.add_argument("--fixed", action="store_true", help="a fixed number of inputs instead, the same each time")
    parser.add_argument("--target", choices=TARGETS)
    parser.add_argument("--corpus", type=Path, help="folder that keeps what reached new code; none by default")
    options = parser.parse_args()
    if options.target:
        fuzz(options.target, None if options.fixed else options.seconds, options.corpus)
    how = ["--fixed"] if options.fixed else ["--seconds", str(max(1, options.seconds // len(TARGETS)))]
    for target in TARGETS:
        began = time.monotonic()
        command = [sys.executable, "-m", "benchmarks.robustness.fuzz_coverage", "--target", target, *how]
        done = subprocess.run(
            [*command, *(["--corpus", str(options.corpus)] if options.corpus else [])],
            capture_output=True,
            text=True,
            env=os.environ | {"PYTHONHASHSEED": "0"},
        )
        runs = re.search(r"stat::number_of_executed_units:\s*(\d+)", done.stderr)
        spent = time.monotonic() - began
        print(f"{target}: {runs[1] if runs else 0} inputs in {spent:.0f} s, exit {done.returncode}", flush=True)
        if done.returncode:
            print(done.stdout[-4000:], done.stderr[-8000:], sep="\n", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
