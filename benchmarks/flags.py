"""How often the flags of findings are true: of lesions, and of false findings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from benchmarks.page import table
from benchmarks.trial import Maps, Trial
from vae_loc.evaluation.lesions import SHARE
from vae_loc.model.network import Model
from vae_loc.preprocessing.canonical import FIELD_OF_VIEW_MM, CanonicalVolume
from vae_loc.scoring.anatomy import labels_for
from vae_loc.scoring.finding_flags import Flags, scene_of
from vae_loc.scoring.finding_model import Finding
from vae_loc.scoring.findings import candidates_of, extent_fpr
from vae_loc.vocabulary import BoolArray

NAMES = ("symmetric", "fluid", "edge")
FALSE = "false"


def flags_table(of: Mapping[str, Sequence[Flags | Finding]]) -> str:
    """Return a table of how many findings of each kind have each flag, of those where it is known."""
    rows = []
    for kind, flags in of.items():
        known = [[flag for one in flags if (flag := getattr(one, name)) is not None] for name in NAMES]
        rows.append([kind, str(len(flags)), *(f"{sum(own)} of {len(own)}" for own in known)])
    return table(["what they are", "findings", *NAMES], rows)


def flags_of_trial(of: Trial, model: Model) -> dict[str, list[Flags]]:
    """Return the flags of Combi's findings: those of lesions by kind; all others, of healthy people too, are false."""
    template = model.reference["template"]
    labels = labels_for(template, FIELD_OF_VIEW_MM / len(template))
    extent, _, level = of.levels("combi", extent_fpr(of.contrast))
    flags: dict[str, list[Flags]] = {FALSE: []}

    def add(canonical: CanonicalVolume, maps: Maps, least: float, kind: str, truth: BoolArray | None) -> None:
        signed = maps["combi"].astype(np.float32)
        parts, candidates = candidates_of(signed, extent, least=least, likeness=of.likeness(maps, "combi"))
        scene = scene_of(signed, canonical, labels, of.contrast)
        for one in (candidate for candidate in candidates if candidate.strength > least):
            at = np.nonzero(parts == one.label)
            hit = truth is not None and truth[at].mean() >= SHARE
            flags.setdefault(kind if hit else FALSE, []).append(scene.flags(at, bright=one.sign == "brighter"))

    for brain, maps in zip(of.judged, of.maps, strict=True):
        add(brain.canonical, maps, level(brain), FALSE, None)
    for sick, maps in zip(of.diseased, of.lesion_maps, strict=True):
        canonical = replace(sick.host.canonical, data=sick.data)
        add(canonical, maps, level(sick.host), sick.kind, sick.truth)
    return flags
