"""Model + facts <-> one safetensors file, proved whole before a tensor is built (design [6]).

The file's only metadata entry, `vae_loc`, is JSON: the facts below and a SHA-256 over facts and tensors. Weights
are float32; healthy statistics by place (`place.*`), healthy modes (`modes.*`) and the judge of the learned map
(`judge.*`) are float16. No pickle. A file may be hostile and its SHA-256 right: sizes, types and shapes are compared
first.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from vae_loc.errors import UnusableModel
from vae_loc.model.facts import FORMAT_VERSION, LEVELS, Facts, Healthy, meaningless
from vae_loc.system.reading import looks_like, opened
from vae_loc.system.writing import write_atomically
from vae_loc.vocabulary import FloatArray, Method

PACKAGE = Path(__file__).parents[1]
PLACES = (PACKAGE / "models", PACKAGE.parent / "models")  # wheel, checkout
REFERENCE, MODES, JUDGE = "place.", "modes.", "judge."  # prefixes of the tensors that are no weights
MAX_HEADER_BYTES = 1_000_000  # ours are 60 kB; more is no model of ours
MAX_MODEL_BYTES = 2_000_000_000  # the paper's network has 10 MB
ITEM_BYTES = {"F32": 4, "F16": 2}  # of the only types in our files
Tensors = dict[str, NDArray[np.generic]]


@dataclass(frozen=True)
class Checkpoint:
    """A trained VAE.

    Attributes
    ----------
    weights : float32, by parameter name
    reference : float32 (I, I, I) on the canonical grid, of 16 bits: `template`, the cohort's mean brain,
        and the healthy `<feature>.mean` and `<feature>.sd` of the features of the maps
    modes : float32 (K, N), of 16 bits, by feature: how healthy brains vary where `<feature>.sd` is positive, N voxels
    judge : float32, of 16 bits, of the learned map (`vae_loc.scoring.learned_map`); a model may have none: {}
    digest : SHA-256 of facts and of all these
    path : the file that it was read from, for messages
    """

    facts: Facts
    weights: dict[str, FloatArray]
    reference: dict[str, FloatArray]
    digest: str
    path: Path | None = None
    modes: dict[str, FloatArray] = field(default_factory=dict)
    judge: dict[str, FloatArray] = field(default_factory=dict)


def checkpoint(
    facts: Facts,
    weights: dict[str, FloatArray],
    reference: dict[str, FloatArray],
    modes: dict[str, FloatArray] | None = None,
    judge: dict[str, FloatArray] | None = None,
) -> Checkpoint:
    """Return a checkpoint of the present format with its digest.

    Parameters
    ----------
    weights : float32, by parameter name
    reference, modes, judge : float32, rounded here to the 16 bits in which they are stored
    """
    from safetensors.numpy import save

    facts = facts.model_copy(update={"format_version": FORMAT_VERSION})
    model = Checkpoint(facts, weights, _halved(reference), "", modes=_halved(modes or {}), judge=_halved(judge or {}))
    raw = save(_tensors(model))
    size = int.from_bytes(raw[:8], "little")
    digest = _sha256(json.loads(facts.model_dump_json()), json.loads(raw[8 : 8 + size]), raw[8 + size :])
    return replace(model, digest=digest)


def with_reference(
    model: Checkpoint,
    reference: dict[str, FloatArray],
    healthy: Healthy | None = None,
    modes: dict[str, FloatArray] | None = None,
    judge: dict[str, FloatArray] | None = None,
) -> Checkpoint:
    """Return a copy of `model` with other statistics by place, modes and judge, and healthy quantiles if given."""
    facts = model.facts if healthy is None else model.facts.model_copy(update={"healthy": healthy})
    return checkpoint(facts, model.weights, reference, modes, judge)


def save_checkpoint(model: Checkpoint, path: Path) -> None:
    """Write one safetensors file of the present format, whole or not at all; the same model gives the same bytes."""
    from safetensors.numpy import save

    model = checkpoint(model.facts, model.weights, model.reference, model.modes, model.judge)
    header = json.dumps({"facts": json.loads(model.facts.model_dump_json()), "sha256": model.digest}, sort_keys=True)
    write_atomically(path, save(_tensors(model), metadata={"vae_loc": header}))


def find_model(name: str) -> Path:
    """Return the file of a shipped model's name (`t1`), or the path itself.

    Raises
    ------
    UnusableModel : if there is neither.
    """
    for place in PLACES:
        if "/" not in name and (place / f"{name}.safetensors").is_file():
            return place / f"{name}.safetensors"
    if os.path.exists(name):
        return Path(name)
    shipped = ", ".join(shipped_models()) or "no shipped model"
    raise UnusableModel(name, f"expected a model file or one of {shipped}, found neither")


def shipped_models() -> list[str]:
    """Return the names of the models that come with vae-loc."""
    files = {path.name for place in PLACES for path in place.glob("*.safetensors")}
    return sorted(name.removesuffix(".safetensors") for name in files if not name.endswith(".state.safetensors"))


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint and prove that it is whole and ours.

    Raises
    ------
    UnusableModel : if the file is missing, damaged, foreign, or of another format version.

    Does not check that the weights are those of the network that the facts describe: `network.ready` does.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    raw = _read_tensor_file(path)
    facts, digest = _parsed(path, raw)
    try:
        tensors = load(raw)
    except SafetensorError as error:
        raise UnusableModel(path, f"its tensors are damaged ({error}); fetch it again") from error
    reference, modes, judge = (
        {name.removeprefix(kind): of.astype(np.float32) for name, of in tensors.items() if name.startswith(kind)}
        for kind in (REFERENCE, MODES, JUDGE)
    )
    weights = {name: tensor for name, tensor in tensors.items() if not name.startswith((REFERENCE, MODES, JUDGE))}
    if odd := next(meaningless(facts, weights, reference, modes, judge), None):
        what = "is missing, of another shape, not finite, or cannot be"
        raise UnusableModel(path, f"its {odd} {what}; train or fetch it again")
    return Checkpoint(facts, weights, reference, digest, path, modes, judge)


def healthy_threshold(model: Checkpoint, method: Method, fpr: float, *, raw: bool = False) -> float:
    """Return the map value that a share `fpr` of healthy voxels exceeds; `raw` for the bare score."""
    if model.facts.healthy is None:
        raise UnusableModel(model.digest[:12], "has no healthy statistics; give --threshold")
    healthy = model.facts.healthy.raw_maps if raw else model.facts.healthy.maps
    return float(np.interp(1 - fpr, LEVELS, healthy[method]))


def _halved(arrays: dict[str, FloatArray]) -> dict[str, FloatArray]:
    return {name: values.astype(np.float16).astype(np.float32) for name, values in arrays.items()}


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
    if _sha256(facts, tensors, memoryview(raw)[8 + size :]) != digest:
        raise UnusableModel(path, "its SHA-256 does not fit its content: damaged or tampered; fetch it again")
    try:
        return Facts.model_validate_json(json.dumps(facts)), digest
    except ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(str(part) for part in fault["loc"])
        raise UnusableModel(path, f"its header is wrong at {where}: {fault['msg']}; fetch it again") from error


def _tensors(model: Checkpoint) -> Tensors:
    tensors = dict(model.weights)
    for kind, small in ((REFERENCE, model.reference), (MODES, model.modes), (JUDGE, model.judge)):
        tensors |= {f"{kind}{name}": tensor.astype(np.float16) for name, tensor in small.items()}
    return {name: np.asarray(tensor, order="C") for name, tensor in tensors.items()}  # as safetensors 0.8 needs them


def _sha256(facts: object, tensors: object, content: bytes | memoryview) -> str:
    head = json.dumps({"facts": facts, "tensors": tensors}, sort_keys=True, separators=(",", ":"))
    digest = hashlib.sha256(head.encode())
    digest.update(content)
    return digest.hexdigest()


def _read_tensor_file(path: Path) -> bytes:
    """Return a whole safetensors file whose header fits its size; no tensor is built.

    Raises
    ------
    UnusableModel : if it is something else, cut, too large, or holds tensors of other types.
    """
    with opened(path, "a vae-loc model (.safetensors)", UnusableModel) as file:
        total = os.fstat(file.fileno()).st_size
        start = file.read(512)
        size = int.from_bytes(start[:8], "little")
        if len(start) < 9 or start[8:9] != b"{" or size > total - 8:
            content = looks_like(start) if start[8:9] != b"{" else "a file that is cut off"
            raise UnusableModel(path, f"expected a vae-loc model (.safetensors), found {content}; fetch it again")
        if size > MAX_HEADER_BYTES or total > MAX_MODEL_BYTES:
            limits = f"{MAX_HEADER_BYTES} bytes of header and {MAX_MODEL_BYTES} in all"
            raise UnusableModel(path, f"expected at most {limits}, found {size} and {total}; it is no model of vae-loc")
        file.seek(8)
        if (needed := 8 + size + _tensor_bytes(path, file.read(size))) != total:
            raise UnusableModel(path, f"expected {needed} bytes by its header, found {total}; fetch it again")
        file.seek(0)
        return file.read(total)


def _tensor_bytes(path: Path, header: bytes) -> int:
    """Return how many bytes the tensors take; refuse types and shapes that no model of ours has."""
    end = 0
    try:
        tensors = json.loads(header)
        tensors.pop("__metadata__", None)
        for name, tensor in tensors.items():
            first, last = tensor["data_offsets"]
            numbers = [first, last, *tensor["shape"]]
            # types first: the product of a list or text and a number is that many copies of it
            if any(type(number) is not int or not 0 <= number <= MAX_MODEL_BYTES for number in numbers):
                raise ValueError(name)
            kind = "F16" if name.startswith((REFERENCE, MODES, JUDGE)) else "F32"
            if tensor["dtype"] != kind or last - first != math.prod(tensor["shape"]) * ITEM_BYTES[kind]:
                raise ValueError(name)
            end = max(end, last)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UnusableModel(path, "expected a vae-loc model, found a foreign or damaged safetensors file") from error
    return end
