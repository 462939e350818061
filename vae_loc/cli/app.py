"""The command line: its commands, and the exit codes of their exceptions."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Annotated

import typer

from vae_loc.cli.bids import bids
from vae_loc.cli.calibrate import calibrate
from vae_loc.cli.console import complain, say
from vae_loc.cli.doctor import doctor
from vae_loc.cli.evaluate import evaluate
from vae_loc.cli.models import export, info
from vae_loc.cli.score import score, segment
from vae_loc.cli.train import train
from vae_loc.cli.view import view
from vae_loc.errors import VaeLocError, machine_fault
from vae_loc.system.versions import own_version

EXIT_INTERRUPTED = 130

app = typer.Typer(
    name="vae-loc",
    no_args_is_help=True,
    add_completion=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)
command: Callable[..., None]
for command in (score, segment, view, bids, train, export, calibrate, evaluate, doctor, info):
    app.command(context_settings={"allow_extra_args": command is bids})(command)


def main(program: Callable[[], None] = app) -> None:
    """Run a command line; a fault of the user's is one line on stderr and an exit code."""
    try:
        program()
    except VaeLocError as error:
        complain(f"vae-loc: {error}")
        sys.exit(error.exit_code)
    except (MemoryError, RuntimeError, OSError, ImportError) as error:
        if (fault := machine_fault(error)) is None:
            raise
        complain(f"vae-loc: {fault}")
        sys.exit(fault.exit_code)
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)


def _version(wanted: bool) -> None:
    if wanted:
        say(f"vae-loc {own_version()}")
        raise typer.Exit


@app.callback()
def _root(
    _: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")] = False,
) -> None:
    """Show which voxels of a brain MRI a model of healthy brains finds improbable. Research use only."""
