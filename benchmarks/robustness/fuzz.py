"""Mutated NIfTIs and models: each is read or refused by one exception class, in bounded time and memory.

python -m benchmarks.robustness.fuzz --nifti 100000 --models 20000 --seed 0

A seeded mutator: flips, overwrites, inserts and deletes bytes, cuts, swaps and repeats blocks, and sets
header fields to interesting numbers; models also get a right SHA-256 after every other mutation, so that
what lies behind it is reached. Exit 1 and the mutant's seed on the first surprise.
"""

from __future__ import annotations

import copy
import gzip
import hashlib
import json
import os
import resource
import struct
import sys
import tempfile
import time
import warnings
from collections import Counter
from pathlib import Path

import nibabel as nib
import numpy as np

from benchmarks.command import parser_of
from vae_loc.errors import UnusableInput, UnusableModel
from vae_loc.model.checkpoint import checkpoint, load_checkpoint, save_checkpoint
from vae_loc.model.facts import FEATURES, FORMAT_VERSION, LEVELS, Facts, Healthy, HealthyFindings, NetworkSize, Training
from vae_loc.model.network import ready
from vae_loc.model.vae import VAE
from vae_loc.scans.volume import read_volume, write_volume
from vae_loc.scoring.aligned_scan import PREPROCESSING
from vae_loc.vocabulary import METHODS, SAMPLE_SCORES

MAX_SECONDS, MAX_BYTES = 1.0, 500_000_000
NUMBERS = (0, 1, -1, 2, 7, 8, 127, 128, 255, 256, 32767, -32768, 65535, 2**31 - 1, -(2**31), 2**32 - 1,
           2**62, 2**63 - 1)  # fmt: skip
FLOATS = (0.0, -0.0, 1.0, -1.0, float("nan"), float("inf"), -float("inf"), 1e-45, 1e-30, 3e38, 1e300, 352.0, 0.5)
NIFTI_FIELDS = ((0, 4), *((40 + 2 * i, 2) for i in range(8)), (70, 2), (72, 2), *((76 + 4 * i, 4) for i in range(8)),
                (108, 4), (112, 4), (116, 4), (123, 1), (252, 2), (254, 2), *((256 + 4 * i, 4) for i in range(18)), (344, 4))  # fmt: skip


def seeds(folder: Path) -> list[bytes]:
    """Small scans of several kinds."""
    shape = (6, 7, 5)
    affine = np.diag([19.0, 18.0, 20.0, 1.0])
    data = np.random.default_rng(0).uniform(10, 100, shape)
    found = []
    for cls in (nib.Nifti1Image, nib.Nifti2Image):
        for dtype in (np.float32, np.int16, np.float64):
            image = cls(data.astype(dtype), affine)
            image.set_qform(affine, 1)
            image.set_sform(affine, 1)
            found.append(image.to_bytes())
    found += [gzip.compress(raw, 1, mtime=0) for raw in found[:3]]
    found.append(gzip.compress(found[0][:500], 1, mtime=0) + gzip.compress(found[0][500:], 1, mtime=0))
    found.append(nib.Nifti1Image(np.stack([data] * 2, -1).astype(np.float32), affine).to_bytes())
    swapped = nib.Nifti1Image(data.astype(np.int16), affine, nib.Nifti1Header(endianness=">"))
    return [*found, swapped.to_bytes()]


def mutated(raw: bytes, others: list[bytes], rng: np.random.Generator) -> bytes:
    """Return a mutant; some are mutated inside their gzip."""
    if raw[:2] == b"\x1f\x8b" and rng.random() < 0.4:
        try:
            return gzip.compress(mutated(gzip.decompress(raw), others, rng), 1, mtime=0)
        except (OSError, EOFError):
            pass
    content = bytearray(raw)
    for _ in range(int(rng.integers(1, 4))):
        kind = int(rng.integers(9))
        at = (
            int(rng.integers(len(content) or 1))
            if rng.random() < 0.4
            else int(rng.integers(min(360, len(content) or 1)))
        )
        size = int(rng.integers(1, 64))
        if kind == 0:
            content[at : at + 1] = bytes([content[at] ^ (1 << int(rng.integers(8)))]) if content else b""
        elif kind == 1:
            content[at : at + size] = rng.bytes(size)
        elif kind == 2:
            del content[at : at + size]
        elif kind == 3:
            content[at:at] = rng.bytes(size)
        elif kind == 4:
            del content[at:]
        elif kind == 5:
            other = others[int(rng.integers(len(others)))]
            content[at : at + size] = other[at : at + size]
        elif kind == 6:
            content += content[at : at + size]
        else:
            set_field(content, rng)
    return bytes(content)


def set_field(content: bytearray, rng: np.random.Generator) -> None:
    place, size = NIFTI_FIELDS[int(rng.integers(len(NIFTI_FIELDS)))]
    order = "<>"[int(rng.integers(2))]
    if size == 4 and rng.random() < 0.6:
        value = struct.pack(order + "f", np.float32(np.clip(FLOATS[int(rng.integers(len(FLOATS)))], -3e38, 3e38)))
        if rng.random() < 0.3:
            value = struct.pack(order + "f", FLOATS[4 + int(rng.integers(3))])
    else:
        number = NUMBERS[int(rng.integers(len(NUMBERS)))] & (2 ** (8 * size) - 1)
        value = number.to_bytes(size, "little" if order == "<" else "big")
    content[place : place + size] = value


def model_seeds(folder: Path) -> list[bytes]:
    """One model with healthy statistics, which make its header long, and four times as often one without."""
    network = NetworkSize(latents=2, image_size=16, c=1.0)
    weights = {name: value.detach().numpy() for name, value in VAE(latents=2, image_size=16).state_dict().items()}
    numbers = [float(n) for n in np.linspace(0, 9, len(LEVELS))]
    healthy = Healthy(
        subjects=2,
        maps=dict.fromkeys(METHODS, numbers),
        raw_maps=dict.fromkeys(METHODS, numbers),
        slices=dict.fromkeys(SAMPLE_SCORES, numbers),
        volumes=dict.fromkeys(SAMPLE_SCORES, numbers),
        findings=dict.fromkeys(METHODS, HealthyFindings(extent=2.0, strengths=[[3.0]], weights=[1.0], kinds=["real"])),
        spread=numbers,
    )
    facts = Facts(
        format_version=FORMAT_VERSION,
        contrast="t1",
        network=network,
        preprocessing=PREPROCESSING,
        training=Training(subjects=2, holdout_subjects=1, slices=9, epochs=1, seed=0, brain_mask="auto", versions={}),
        healthy=healthy,
    )
    names = ["template", *(f"{feature}.{kind}" for feature in FEATURES for kind in ("mean", "sd"))]
    reference = {name: np.zeros((16,) * 3, np.float32) for name in names}
    found = []
    for said in (facts, facts.model_copy(update={"healthy": None})):
        save_checkpoint(checkpoint(said, weights, reference), folder / "seed.safetensors")
        found.append((folder / "seed.safetensors").read_bytes())
    return [found[0], *[found[1]] * 4]


def mutated_model(raw: bytes, rng: np.random.Generator) -> bytes:
    """Return a mutant of the bytes, or of the header's JSON with a SHA-256 that fits again."""
    if rng.random() < 0.5:
        return mutated(raw, [raw], rng)
    size = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + size])
    stated = json.loads(header.pop("__metadata__")["vae_loc"])
    for _ in range(int(rng.integers(1, 3))):
        mutate_json(stated["facts"] if rng.random() < 0.6 else header, rng)
    content = bytearray(raw[8 + size :])
    if rng.random() < 0.3:
        at = int(rng.integers(len(content)))
        content[at : at + 4] = rng.bytes(4)
    return _with_digest(stated, header, bytes(content))


def signed(raw: bytes) -> bytes:
    """Return a model whose SHA-256 fits its content; the bytes as they are where that cannot be."""
    size = int.from_bytes(raw[:8], "little")
    try:
        header = json.loads(raw[8 : 8 + size])
        stated = json.loads(header.pop("__metadata__")["vae_loc"])
        return _with_digest(stated, header, raw[8 + size :])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError):
        return raw


def _with_digest(stated: dict, header: dict, content: bytes) -> bytes:
    text = json.dumps({"facts": stated["facts"], "tensors": header}, sort_keys=True, separators=(",", ":"))
    stated["sha256"] = hashlib.sha256(text.encode() + content).hexdigest()
    head = json.dumps({"__metadata__": {"vae_loc": json.dumps(stated)}, **header}).encode()
    return len(head).to_bytes(8, "little") + head + content


ODD_VALUES = (None, True, 0, -1, 1, 2, 16, 512, 4096, 2**40, 2**63, 2**70, -0.5, 1e400, float("nan"), "", "F32", "F64", "F8_E4M3", "\x1b[31m",
              [], [[]], [0], [1, 2, 3], [2**40, 2**40], [-1, 4], {}, {"a": {}}, "x" * 5000)  # fmt: skip


def mutate_json(tree: dict | list, rng: np.random.Generator) -> None:
    """Replace, drop, add or duplicate one value anywhere in a tree."""
    while True:
        keys = list(tree) if isinstance(tree, dict) else list(range(len(tree)))
        if not keys:
            return
        key = keys[int(rng.integers(len(keys)))]
        if isinstance(tree[key], (dict, list)) and tree[key] and rng.random() < 0.8:
            tree = tree[key]
            continue
        kind = int(rng.integers(5))
        if kind == 0:
            del tree[key]
        elif kind == 1 and isinstance(tree, dict):
            tree[f"{key}~"] = copy.deepcopy(tree[key])
        elif kind == 2 and isinstance(tree, dict):
            tree[keys[int(rng.integers(len(keys)))]] = copy.deepcopy(tree[key])
        else:
            tree[key] = copy.deepcopy(ODD_VALUES[int(rng.integers(len(ODD_VALUES)))])
        return


def try_nifti(path: Path) -> None:
    volume = read_volume(path)
    if not (np.isfinite(volume.data).all() and np.isfinite(volume.affine).all()):
        raise AssertionError("not finite")
    out = path.with_name("out.nii")
    write_volume(out, volume.data, volume)
    if out.stat().st_size < volume.data.nbytes:
        raise AssertionError("output is not whole")


def try_model(path: Path) -> None:
    ready(load_checkpoint(path))


def campaign(kind: str, count: int, seed: int, folder: Path, seconds: float | None) -> bool:
    """Try `count` mutants, or as many as fit into `seconds`; report, and return whether all went well."""
    corpus = seeds(folder) if kind == "nifti" else model_seeds(folder)
    tried, fault = (try_nifti, UnusableInput) if kind == "nifti" else (try_model, UnusableModel)
    outcomes: Counter[str] = Counter()
    slowest, began = (0.0, -1), time.monotonic()
    for number in range(count):
        if seconds is not None and time.monotonic() - began > seconds:
            break
        rng = np.random.default_rng([seed, number])
        raw = corpus[int(rng.integers(len(corpus)))]
        content = mutated(raw, corpus, rng) if kind == "nifti" else mutated_model(raw, rng)
        path = folder / ("m.safetensors" if kind != "nifti" else "m.nii.gz" if content[:2] == b"\x1f\x8b" else "m.nii")
        path.write_bytes(content)
        start = time.monotonic()
        try:
            tried(path)
            outcomes["read"] += 1
        except fault as error:
            outcomes["refused"] += 1
            if "\n" in str(error) or "\x1b" in str(error):
                raise AssertionError(f"seed {seed}, {number}: more than one line: {error!r}") from error
        except BaseException:
            kept = Path(tempfile.gettempdir()) / f"vae-loc-fuzz-{kind}-{seed}-{number}{path.suffix}"
            kept.write_bytes(content)
            print(f"{kind} seed {seed} number {number}: another exception; kept {kept}", file=sys.stderr)
            raise
        slowest = max(slowest, (time.monotonic() - start, number))
    total = sum(outcomes.values())
    rate = total / (time.monotonic() - began)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(f"{kind}: {total} mutants of {len(corpus)} seeds (seed {seed}): {dict(outcomes)}, {rate:.0f}/s, "
          f"slowest {slowest[0] * 1000:.0f} ms (number {slowest[1]}), peak {peak / 1e6:.0f} MB with the libraries")  # fmt: skip
    return slowest[0] <= MAX_SECONDS and peak <= MAX_BYTES


def main() -> int:
    parser = parser_of(__doc__)
    parser.add_argument("--nifti", type=int, default=100_000)
    parser.add_argument("--models", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, help="stop each campaign after so long")
    options = parser.parse_args()
    os.fsync = lambda _: None  # the disk is not under test
    warnings.simplefilter("error")  # a warning on stderr is a surprise too
    place = "/dev/shm" if os.path.isdir("/dev/shm") else None
    with tempfile.TemporaryDirectory(dir=place) as folder:
        good = campaign("nifti", options.nifti, options.seed, Path(folder), options.seconds)
        good &= campaign("models", options.models, options.seed, Path(folder), options.seconds)
    return int(not good)


if __name__ == "__main__":
    sys.exit(main())
