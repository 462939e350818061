"""The facts in a checkpoint's header: network, preprocessing, training, healthy and labelled calibration."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from vae_loc.vocabulary import METHODS, SAMPLE_SCORES, BoolArray, FloatArray

FORMAT_VERSION = 6  # of the files written: since 6 without ONNX graphs
# probabilities at which healthy quantiles are stored: even steps, then a fine upper tail
LEVELS = np.unique(np.concatenate([np.linspace(0, 0.99, 199), np.linspace(0.99, 0.999, 37), np.linspace(0.999, 1, 21)]))
Quantiles = Annotated[list[float], Field(min_length=len(LEVELS), max_length=len(LEVELS))]
FEATURES = ("residual", "rec-gradient", "elbo-gradient", "kl-magnitude")  # of which the normalised maps are made
JUDGE_WIDTHS = (25, 16, 16, 1)  # of the learned map's judge: features, two layers, log-odds; more learn the maker
ANY = "residual.mean"  # a model with this knows healthy brains by place
# of the scans that findings are compared with: healthy ones, healthy ones of another contrast in the look of this one,
# and scans of a site of which some show a disease, the part left out that may be of it
Kind = Literal["real", "simulated", "ordinary"]
SCAN_KINDS: tuple[Kind, Kind, Kind] = ("real", "simulated", "ordinary")


class _Facts(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class NetworkSize(_Facts):
    """Sizes of the VAE, from which it is built again."""

    latents: int = Field(gt=0, le=4096)
    image_size: int = Field(ge=16, le=512, multiple_of=16)
    c: float = Field(ge=0.001, le=1000)


class Preprocessing(_Facts):
    """The preparation of slices; slices prepared otherwise are refused."""

    field_of_view_mm: float
    intensity: str
    clip_sd: tuple[float, float]
    background_sd: float
    smoothing_fwhm_mm: float
    pose: str
    mask: str
    normalisation: str


class Training(_Facts):
    """The origin of the weights."""

    subjects: int
    holdout_subjects: int
    reference_subjects: int = 0
    slices: int
    epochs: int
    seed: int
    brain_mask: str
    synthesized_from: str | None = None
    versions: dict[str, str]


class HealthyFindings(_Facts):
    """Candidates of a map in healthy people: the false alarms that a finding is compared with.

    `extent` is the map's value from which on a voxel belongs to a finding. `strengths` are those of every healthy
    scan's findings, strongest first; `weights` are the numbers of scans that each of them represents. `kinds`
    are those of the scans.
    """

    extent: float
    strengths: list[list[float]]
    weights: list[float]
    kinds: list[Kind]


class Healthy(_Facts):
    """Quantiles of every score on healthy subjects that the network did not learn from, at `LEVELS`.

    `maps` pools in-brain voxels on the scans' own grids, `raw_maps` those of the bare scores; `slices`
    and `volumes` hold the sample-wise Rec, KL and ELBO. `findings` are those of each map, and `spread` is that of a
    scan's voxels in healthy standard deviations.
    """

    subjects: int
    maps: dict[str, Quantiles]
    raw_maps: dict[str, Quantiles]
    slices: dict[str, Quantiles]
    volumes: dict[str, Quantiles]
    findings: dict[str, HealthyFindings]
    spread: Quantiles


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
    """All facts of a checkpoint."""

    format_version: int
    contrast: str
    network: NetworkSize
    preprocessing: Preprocessing
    training: Training
    healthy: Healthy | None = None
    labelled: Labelled | None = None


def meaningless(
    facts: Facts,
    weights: Mapping[str, FloatArray],
    reference: Mapping[str, FloatArray],
    modes: Mapping[str, FloatArray],
    judge: Mapping[str, FloatArray],
) -> Iterator[str]:
    """Yield the name of each part of a checkpoint that is missing, of another shape, not finite, or cannot be.

    Its SHA-256 proves only that it is whole.
    """
    every = [*weights.items(), *reference.items(), *modes.items(), *judge.items()]
    yield from (name for name, tensor in every if not np.isfinite(tensor).all())
    yield from _odd_judge(judge)
    # modes (K, N) have a number for each place with statistics, and statistics of their residuals
    for name, of in modes.items():
        needed = {f"{name}.sd", f"{name}.rest.mean", f"{name}.rest.sd"}
        places = np.count_nonzero(reference[f"{name}.sd"] > 0) if needed <= reference.keys() else None
        if of.ndim != 2 or of.shape[1] != places:
            yield name
    # statistics by place
    side = facts.network.image_size
    for name, values in reference.items():
        if values.shape != (side,) * 3 or (name.endswith(".sd") and values.min(initial=0) < 0):
            yield name
        if name.endswith(".mean") and f"{name.removesuffix('.mean')}.sd" not in reference:
            yield name
    if ANY in reference or facts.healthy is not None:
        parts = ["template", *(f"{feature}.{kind}" for feature in FEATURES for kind in ("mean", "sd"))]
        yield from (name for name in parts if name not in reference)
    if facts.healthy is not None:
        yield from _odd_healthy(facts.healthy)
    if facts.labelled is not None:
        yield from (name for name in METHODS if name not in facts.labelled.thresholds)


def _odd_judge(judge: Mapping[str, FloatArray]) -> Iterator[str]:
    """Yield the names of a judge's arrays that cannot be; a model may have no judge."""
    shapes: dict[str, tuple[int, ...]] = {"centre": JUDGE_WIDTHS[:1], "scale": JUDGE_WIDTHS[:1]}
    for layer, widths in enumerate(itertools.pairwise(JUDGE_WIDTHS)):
        shapes |= {f"{layer}.weight": widths, f"{layer}.bias": widths[1:]}
    found = {name: array.shape for name, array in judge.items()}
    yield from (f"judge {name}" for name in sorted(dict(shapes.items() ^ found.items() if judge else ())))
    if "scale" in judge and judge["scale"].min(initial=1) <= 0:
        yield "judge scale"


def _odd_healthy(healthy: Healthy) -> Iterator[str]:
    """Yield the names of healthy statistics that are missing, fall, or are negative where they cannot be."""
    groups = {"map": healthy.maps, "raw map": healthy.raw_maps, "slice": healthy.slices, "volume": healthy.volumes}
    for kind, group in groups.items():
        needed = METHODS if kind.endswith("map") else SAMPLE_SCORES
        yield from (f"{kind} {name}" for name in needed if name not in group)
        yield from (f"{kind} {name}" for name, quantiles in group.items() if not _rise(quantiles))
    if not (_rise(healthy.spread) and healthy.spread[0] >= 0):
        yield "spread"
    yield from (f"findings {name}" for name in METHODS if name not in healthy.findings)
    for name, of in healthy.findings.items():
        # each scan has a weight above 0, and strengths that fall from the strongest and are not below 0
        fall = all(_rise(strengths[::-1]) and min(strengths, default=0) >= 0 for strengths in of.strengths)
        if of.extent < 0 or not len(of.weights) == len(of.strengths) > 0 or min(of.weights) <= 0 or not fall:
            yield f"findings {name}"
        if len(of.kinds) != len(of.strengths):
            yield f"kinds of findings {name}"


def _rise(values: list[float]) -> bool:
    falls: BoolArray = np.diff(values) < 0
    return not falls.any()


def healthy_percentile(value: float, quantiles: list[float]) -> float:
    """Return the percentage of the healthy distribution at or below `value`, 0 to 100."""
    return 100 * float(np.interp(value, quantiles, LEVELS))


def quantiles(values: NDArray[np.floating]) -> list[float]:
    """Return the quantiles of `values` (N,) at `LEVELS`, rounded to 6 digits."""
    return [rounded(q) for q in np.quantile(values.astype(np.float64), LEVELS)]


def rounded(value: float) -> float:
    """Return a value to 6 digits, as quantiles are kept; else the largest of them would exceed itself."""
    return float(f"{value:.6g}")
