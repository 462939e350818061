"""The command line: parse, call one library function, say what was written."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from vae_loc import __version__
from vae_loc.cli import bids, calibrate, doctor, evaluate, models, reproduce, score, train
from vae_loc.cli.console import complain, say
from vae_loc.errors import OutOfMemory, VaeLocError, is_out_of_memory

app = typer.Typer(
    name="vae-loc",
    help="Show which voxels of a brain MRI a model of healthy brains finds improbable. Research use only.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
)

EXIT_INTERRUPTED = 130


def _version(wanted: bool) -> None:
    if wanted:
        say(f"vae-loc {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    _: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")] = False,
) -> None:
    """Show which voxels of a brain MRI a model of healthy brains finds improbable. Research use only."""


app.command()(score.score)
app.command()(score.segment)
app.command(context_settings={"allow_extra_args": True})(bids.bids)


app.command()(train.train)
app.command()(models.export)
app.command()(calibrate.calibrate)
app.command()(evaluate.evaluate)
app.command()(reproduce.reproduce)
app.command()(doctor.doctor)
app.command()(models.info)


def main() -> None:
    """Run the command line; a fault of the user's is one line on stderr and an exit code."""
    try:
        app()
    except VaeLocError as error:
        complain(f"vae-loc: {error}")
        sys.exit(error.exit_code)
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        complain(f"vae-loc: {OutOfMemory()}")
        sys.exit(OutOfMemory.exit_code)
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)
