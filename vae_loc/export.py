"""A model -> a plain ONNX file for other programs."""

from __future__ import annotations

from pathlib import Path

from vae_loc.checkpoint import load_checkpoint
from vae_loc.derive import with_weights
from vae_loc.errors import UnusableOption
from vae_loc.files import check_place, refuse_inputs, write_atomically


def export(model: Path, output: Path) -> None:
    """Write the graph of all five maps, with its weights, as ONNX.

    Raises
    ------
    UnusableOption : if `output` ends otherwise than in .onnx.
    UnusableInput : if it is the model itself.
    """
    if output.suffix != ".onnx":
        raise UnusableOption("-o", f"expected a name ending in .onnx, got {output.name}")
    check_place(output)
    refuse_inputs([output], [model])
    given = load_checkpoint(model)
    facts = given.facts
    about = {"contrast": facts.contrast, "c": f"{facts.network.c:g}", "vae_loc_sha256": given.digest}
    write_atomically(output, with_weights(given.graphs["all"], given.weights, about))
