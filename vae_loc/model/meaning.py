"""Checks that the content of a checkpoint is possible: its SHA-256 proves only that it is whole."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from vae_loc.model.facts import Facts, Healthy, HealthyFindings
from vae_loc.vocabulary import METHODS, SAMPLE_SCORES, BoolArray, FloatArray

FEATURES = ("residual", "rec-gradient", "elbo-gradient", "kl-magnitude")  # of which the normalised maps are made
ANY = "residual.mean"  # a model with this knows healthy brains by place


def meaningless(
    facts: Facts,
    weights: Mapping[str, FloatArray],
    reference: Mapping[str, FloatArray],
    modes: Mapping[str, FloatArray],
) -> Iterator[str]:
    """Yield the name of each part that is missing, of another shape, not finite, or of values that cannot be."""
    yield from (name for name, tensor in {**weights, **reference, **modes}.items() if not np.isfinite(tensor).all())
    yield from (name for name, of in modes.items() if not _fit(of, name, reference))
    side = facts.network.image_size
    yield from (name for name, values in reference.items() if values.shape != (side,) * 3)
    yield from (name for name, values in reference.items() if name.endswith(".sd") and values.min(initial=0) < 0)
    yield from _missing_reference(facts, reference)
    if facts.healthy is not None:
        yield from _odd_healthy(facts.healthy)
    if facts.labelled is not None:
        yield from (name for name in METHODS if name not in facts.labelled.thresholds)


def _missing_reference(facts: Facts, reference: Mapping[str, FloatArray]) -> Iterator[str]:
    """Yield the missing parts of a reference: where there is any part, or healthy statistics."""
    for name in reference:
        if name.endswith(".mean") and f"{name.removesuffix('.mean')}.sd" not in reference:
            yield name
    if ANY in reference or facts.healthy is not None:
        needed = [f"{feature}.{kind}" for feature in FEATURES for kind in ("mean", "sd")]
        yield from (name for name in ("template", *needed) if name not in reference)


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
    yield from (f"findings {name}" for name, of in healthy.findings.items() if not _are_findings(of))


def _are_findings(findings: HealthyFindings) -> bool:
    """Return whether each scan has a weight above 0, and strengths that fall from the strongest and are above 0."""
    return (
        findings.extent >= 0
        and len(findings.weights) == len(findings.strengths) > 0
        and min(findings.weights) > 0
        and all(_rise(strengths[::-1]) and min(strengths, default=0) >= 0 for strengths in findings.strengths)
    )


def _rise(values: list[float]) -> bool:
    falls: BoolArray = np.diff(values) < 0
    return not falls.any()


def _fit(modes: FloatArray, name: str, reference: Mapping[str, FloatArray]) -> bool:
    """Return whether modes (K, N) have a number for each place with statistics, and statistics of their residuals."""
    if modes.ndim != 2 or f"{name}.sd" not in reference:
        return False
    if any(f"{name}.rest.{kind}" not in reference for kind in ("mean", "sd")):
        return False
    return bool(modes.shape[1] == np.count_nonzero(reference[f"{name}.sd"] > 0))
