"""The `vae-loc` command: ready for signals and closed streams before anything slow is imported."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from types import FrameType

from vae_loc.system.farewell import clean_ups, last_words

SHOW_CURSOR = b"\x1b[?25h\r\n"  # a progress bar hides it


def main(program: Callable[[], None] | None = None) -> None:
    """Run a command line, else that of `vae-loc`; SIGINT and SIGTERM end it at any moment, also during imports."""
    _open_standard_files()
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup, or a shell's background job
            signal.signal(number, _leave)
    # two BLAS threads take twice the CPU time of one for matrices as small as ours
    for name in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    # nibabel imports pydicom where it is installed, 0.15 s for an extension of NIfTI headers that is not read here;
    # DICOM series import it when they come
    sys.modules.setdefault("pydicom", None)  # type: ignore[arg-type]
    from vae_loc.cli.app import main as run

    try:
        run(program) if program else run()
    finally:  # the work is done; the interpreter's end would put back the default, by which a signal kills
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)


def _leave(number: int, _: FrameType | None) -> None:
    """Remove half-written files and end with 128 + the signal's number.

    No exception is raised: inside an import or a callback of a library it would be printed, or swallowed.
    """
    for clean_up in clean_ups:
        clean_up()
    if os.isatty(2):
        os.write(2, SHOW_CURSOR)
    os.write(2, last_words())
    os._exit(128 + number)


def _open_standard_files() -> None:
    """Give closed streams /dev/null, lest an output file becomes descriptor 1 and takes the printed text."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free number: this one
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:  # a name that the terminal's encoding does not have is no fault
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]


if __name__ == "__main__":
    main()
