"""A safetensors file -> its bytes, once its header accounts for every one of them."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable
from pathlib import Path

from vae_loc.errors import UnusableModel
from vae_loc.files import opened
from vae_loc.signatures import looks_like

MAX_HEADER_BYTES = 1_000_000  # ours are 60 kB; more is no model of ours
MAX_MODEL_BYTES = 2_000_000_000  # the paper's network has 10 MB
ITEM_BYTES = {"F32": 4, "F16": 2, "U8": 1}  # of the only types in our files


def read_tensor_file(path: Path, type_of: Callable[[str], str]) -> bytes:
    """Return a whole safetensors file whose header fits its size; no tensor is built.

    Parameters
    ----------
    type_of : the type that the tensor of a name must have, `F32`, `F16` or `U8`

    Raises
    ------
    UnusableModel : if it is something else, cut, too large, or holds tensors of other types.
    """
    with opened(path, "a vae-loc model (.safetensors)", UnusableModel) as file:
        total = os.fstat(file.fileno()).st_size
        start = file.read(512)
        size = int.from_bytes(start[:8], "little")
        if len(start) < 9 or start[8:9] != b"{" or size > total - 8:
            found = looks_like(start) if start[8:9] != b"{" else "a file that is cut off"
            raise UnusableModel(path, f"expected a vae-loc model (.safetensors), found {found}; fetch it again")
        if size > MAX_HEADER_BYTES or total > MAX_MODEL_BYTES:
            limits = f"{MAX_HEADER_BYTES} bytes of header and {MAX_MODEL_BYTES} in all"
            raise UnusableModel(path, f"expected at most {limits}, found {size} and {total}; it is no model of vae-loc")
        file.seek(8)
        if (needed := 8 + size + _tensor_bytes(path, file.read(size), type_of)) != total:
            raise UnusableModel(path, f"expected {needed} bytes by its header, found {total}; fetch it again")
        file.seek(0)
        return file.read(total)


def _tensor_bytes(path: Path, header: bytes, type_of: Callable[[str], str]) -> int:
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
            kind = type_of(name)
            if tensor["dtype"] != kind or last - first != math.prod(tensor["shape"]) * ITEM_BYTES[kind]:
                raise ValueError(name)
            end = max(end, last)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UnusableModel(path, "expected a vae-loc model, found a foreign or damaged safetensors file") from error
    return end
