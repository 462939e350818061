"""A model -> one of the present format, or a plain ONNX file for other programs."""

from __future__ import annotations

from pathlib import Path

from vae_loc.checkpoint import FORMAT_VERSION, OLD_VERSION, Checkpoint, checkpoint, load_checkpoint, save_checkpoint
from vae_loc.derive import derived_graphs, with_weights
from vae_loc.errors import UnusableModel, UnusableOption
from vae_loc.files import check_place, write_atomically


def export(model: Path, output: Path) -> None:
    """Write a model as `.safetensors` of the present format, or as `.onnx`.

    Weights, statistics and thresholds stay the same. Models of the format before are read too, and given graphs.

    Raises
    ------
    UnusableOption : if `output` is the model itself, or ends otherwise.
    """
    if output.suffix not in (".safetensors", ".onnx"):
        raise UnusableOption("-o", f"expected a name ending in .safetensors or .onnx, got {output.name}")
    if output.exists() and output.samefile(model):
        raise UnusableOption("-o", "expected a new file, got the model itself; it is never changed")
    check_place(output)
    renewed = _renewed(model)
    if output.suffix == ".onnx":
        facts = renewed.facts
        about = {"contrast": facts.contrast, "c": f"{facts.network.c:g}", "vae_loc_sha256": renewed.digest}
        write_atomically(output, with_weights(renewed.graphs["all"], renewed.weights, about))
    else:
        save_checkpoint(renewed, output)


def _renewed(path: Path) -> Checkpoint:
    """Return a model of this format, or one of the format before with the graphs that it lacks."""
    try:
        return load_checkpoint(path)
    except UnusableModel:
        model = load_checkpoint(path, version=OLD_VERSION)
    network = model.facts.network
    facts = model.facts.model_copy(update={"format_version": FORMAT_VERSION})
    return checkpoint(facts, model.weights, model.places, derived_graphs(network.latents, network.image_size))
