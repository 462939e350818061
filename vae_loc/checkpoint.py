"""Model + facts <-> one safetensors file, proved whole before a tensor is built (design [6]).

The file's only metadata entry, `vae_loc`, is JSON: the facts below and a SHA-256 over facts and tensors. Weights
are float32, what is known by place (`place.*`) float16, the ONNX graphs (`graph.*`) bytes. No pickle. A file may
be hostile and its SHA-256 right: sizes, types and shapes are compared first.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from vae_loc.errors import UnusableModel
from vae_loc.files import write_atomically
from vae_loc.tensorfile import read_tensor_file
from vae_loc.volume import FloatArray

FORMAT_VERSION = 4
PLACE, GRAPH = "place.", "graph."  # prefixes of the tensors that are no weights
Method = Literal["rec-error", "kl-grad", "rec-grad", "elbo-grad", "combi"]
METHODS: tuple[Method, ...] = ("rec-error", "kl-grad", "rec-grad", "elbo-grad", "combi")
# probabilities at which healthy quantiles are stored: even steps, then a fine upper tail
LEVELS = np.unique(np.concatenate([np.linspace(0, 0.99, 199), np.linspace(0.99, 0.999, 37), np.linspace(0.999, 1, 21)]))
SAMPLE_SCORES = ("rec", "kl", "elbo")
Tensors = dict[str, NDArray[np.generic]]
Quantiles = Annotated[list[float], Field(min_length=len(LEVELS), max_length=len(LEVELS))]


class _Facts(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Network(_Facts):
    """What is needed to build the VAE again."""

    latents: int = Field(gt=0, le=4096)
    image_size: int = Field(ge=16, le=512, multiple_of=16)
    c: float = Field(gt=0)


class Preprocessing(_Facts):
    """How slices were prepared; data prepared otherwise must not be scored."""

    field_of_view_mm: float
    intensity: str
    clip_sd: tuple[float, float]
    background_sd: float
    smoothing_fwhm_mm: float
    pose: str
    mask: str
    normalisation: str


class Training(_Facts):
    """Where the weights come from."""

    subjects: int
    holdout_subjects: int
    slices: int
    epochs: int
    seed: int
    brain_mask: str
    synthesized_from: str | None = None
    versions: dict[str, str]


class Healthy(_Facts):
    """Quantiles of every score on held-out healthy subjects, at `LEVELS`.

    `maps` pools in-brain voxels on the scans' own grids, `raw_maps` those of the bare scores; `slices`
    and `volumes` hold the sample-wise Rec, KL and ELBO.
    """

    subjects: int
    maps: dict[str, Quantiles]
    raw_maps: dict[str, Quantiles]
    slices: dict[str, Quantiles]
    volumes: dict[str, Quantiles]


class Labelled(_Facts):
    """Thresholds of maximal Dice on annotated subjects, and the Dice on the others.

    `dice` holds, a map, the mean over the reported subjects and folds, and its standard deviation.
    """

    thresholds: dict[str, float]
    dice: dict[str, tuple[float | None, float | None]]
    calibration_subjects: int
    reported_subjects: int
    folds: int
    seed: int


class Facts(_Facts):
    """All that a checkpoint says of itself."""

    format_version: int
    contrast: str
    network: Network
    preprocessing: Preprocessing
    training: Training
    healthy: Healthy | None = None
    labelled: Labelled | None = None


@dataclass(frozen=True)
class Checkpoint:
    """A trained VAE.

    Attributes
    ----------
    weights : float32, by parameter name
    places : float32 (I, I, I) on the canonical grid, of 16 bits: `template`, the cohort's mean brain,
        and the healthy `<feature>.mean` and `<feature>.sd` of what the maps are made of
    graphs : ONNX, without weights: `kl` gives what needs no gradient of Rec, `all` everything (`derive`)
    digest : SHA-256 of facts, weights, places and graphs
    path : where it was read from, for messages
    """

    facts: Facts
    weights: dict[str, FloatArray]
    places: dict[str, FloatArray]
    graphs: dict[str, bytes]
    digest: str
    path: Path | None = None


def checkpoint(
    facts: Facts, weights: dict[str, FloatArray], places: dict[str, FloatArray], graphs: dict[str, bytes]
) -> Checkpoint:
    """Return a checkpoint with its digest."""
    halved = {name: values.astype(np.float16).astype(np.float32) for name, values in places.items()}
    model = Checkpoint(facts, weights, halved, graphs, "")
    return replace(model, digest=_digest(facts, _tensors(model)))


def with_places(model: Checkpoint, places: dict[str, FloatArray], healthy: Healthy | None = None) -> Checkpoint:
    """Return a copy of `model` with other statistics by place, and, if given, other healthy quantiles."""
    facts = model.facts if healthy is None else model.facts.model_copy(update={"healthy": healthy})
    return checkpoint(facts, model.weights, places, model.graphs)


def with_labelled(model: Checkpoint, labelled: Labelled) -> Checkpoint:
    """Return a copy of `model` that knows thresholds from annotated subjects."""
    facts = model.facts.model_copy(update={"labelled": labelled})
    return checkpoint(facts, model.weights, model.places, model.graphs)


def save_checkpoint(model: Checkpoint, path: Path) -> None:
    """Write one safetensors file, whole or not at all; the same model gives the same bytes."""
    from safetensors.numpy import save

    header = json.dumps({"facts": json.loads(model.facts.model_dump_json()), "sha256": model.digest}, sort_keys=True)
    write_atomically(path, save(_tensors(model), metadata={"vae_loc": header}))


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint and prove that it is whole and ours.

    Raises
    ------
    UnusableModel : if the file is missing, damaged, foreign, or of another format version.

    Whether the weights are those of the network that the facts describe, `build_model` checks.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    raw = read_tensor_file(path, _type_of)
    facts, digest = _parsed(path, raw)
    try:
        tensors = load(raw)
    except SafetensorError as error:
        raise UnusableModel(path, f"its tensors are damaged ({error}); fetch it again") from error
    places = {name: values.astype(np.float32) for name, values in _named(tensors, PLACE).items()}
    graphs = {name: values.tobytes() for name, values in _named(tensors, GRAPH).items()}
    weights = {name: tensor for name, tensor in tensors.items() if not name.startswith((PLACE, GRAPH))}
    _check_values(path, facts, weights, places)
    if graphs.keys() != {"kl", "all"}:
        raise UnusableModel(path, "its graphs are not those of its format; train or fetch it again")
    return Checkpoint(facts, weights, places, graphs, digest, path)


def healthy_percentile(value: float, quantiles: list[float]) -> float:
    """Return the percentage of the healthy distribution at or below `value`, 0 to 100."""
    return 100 * float(np.interp(value, quantiles, LEVELS))


def healthy_threshold(model: Checkpoint, method: Method, fpr: float, *, raw: bool = False) -> float:
    """Return the map value that a share `fpr` of healthy voxels exceeds; `raw` for the bare score."""
    if model.facts.healthy is None:
        raise UnusableModel(model.digest[:12], "has no healthy statistics; give --threshold")
    healthy = model.facts.healthy.raw_maps if raw else model.facts.healthy.maps
    return float(np.interp(1 - fpr, LEVELS, healthy[method]))


def quantiles(values: NDArray[np.floating]) -> list[float]:
    """Return the quantiles of `values` at `LEVELS`, rounded."""
    return [rounded(q) for q in np.quantile(values.astype(np.float64), LEVELS)]


def rounded(value: float) -> float:
    """Return a value to 6 digits, as quantiles are kept; else the largest of them would exceed itself."""
    return float(f"{value:.6g}")


def _check_values(path: Path, facts: Facts, weights: dict[str, FloatArray], places: dict[str, FloatArray]) -> None:
    """Refuse what a right SHA-256 does not exclude: values that are not finite, or statistics in part."""
    bad = [name for name, tensor in (weights | places).items() if not np.isfinite(tensor).all()]
    side = facts.network.image_size
    bad += [name for name, place in places.items() if place.shape != (side,) * 3]
    bad += [name for name in places if name.endswith(".mean") and f"{name.removesuffix('.mean')}.sd" not in places]
    if facts.healthy is not None:
        healthy = facts.healthy
        bad += [name for name in METHODS if name not in healthy.maps or name not in healthy.raw_maps]
        bad += [name for name in SAMPLE_SCORES if name not in healthy.slices or name not in healthy.volumes]
    if facts.labelled is not None:
        bad += [name for name in METHODS if name not in facts.labelled.thresholds]
    if bad:
        raise UnusableModel(path, f"its {bad[0]} is missing, of another shape, or not finite; train or fetch it again")


def _parsed(path: Path, raw: bytes) -> tuple[Facts, str]:
    """Return facts and proven digest from header and bytes alone, before a tensor is built."""
    size = int.from_bytes(raw[:8], "little")
    try:
        tensors = json.loads(raw[8 : 8 + size])
        stated = json.loads(tensors.pop("__metadata__")["vae_loc"])
        facts, digest = stated["facts"], stated["sha256"]
        version = facts["format_version"]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UnusableModel(path, "expected a vae-loc model, found a foreign or damaged safetensors file") from error
    if version != FORMAT_VERSION:
        mend = "train it again, or use the vae-loc it is of"
        raise UnusableModel(path, f"expected model format {FORMAT_VERSION}, found {version}; {mend}")
    if _sha256(facts, tensors, raw[8 + size :]) != digest:
        raise UnusableModel(path, "its SHA-256 does not fit its content: damaged or tampered; fetch it again")
    try:
        return Facts.model_validate_json(json.dumps(facts)), digest
    except ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(str(part) for part in fault["loc"])
        raise UnusableModel(path, f"its header is wrong at {where}: {fault['msg']}; fetch it again") from error


def _tensors(model: Checkpoint) -> Tensors:
    places = {f"{PLACE}{name}": tensor.astype(np.float16) for name, tensor in model.places.items()}
    graphs = {f"{GRAPH}{name}": np.frombuffer(raw, dtype=np.uint8) for name, raw in model.graphs.items()}
    return {**model.weights, **places, **graphs}


def _type_of(name: str) -> str:
    return "F16" if name.startswith(PLACE) else "U8" if name.startswith(GRAPH) else "F32"


def _named(tensors: Tensors, prefix: str) -> Tensors:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _digest(facts: Facts, tensors: Tensors) -> str:
    from safetensors.numpy import save

    raw = save(dict(tensors))
    size = int.from_bytes(raw[:8], "little")
    return _sha256(json.loads(facts.model_dump_json()), json.loads(raw[8 : 8 + size]), raw[8 + size :])


def _sha256(facts: object, tensors: object, content: bytes) -> str:
    head = json.dumps({"facts": facts, "tensors": tensors}, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(head.encode() + content).hexdigest()
