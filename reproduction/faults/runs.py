"""The effect of each fault of the authors' brain script: switched on one at a time, and all together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from reproduction.brain.data import Patient, Source, prepared
from reproduction.brain.runs import BASE, QUICK_SIZE, loaded
from reproduction.sweep import Key, Row, keys_of, sweep
from vae_loc.evaluation.metrics import rank
from vae_loc.system.progress import BarMaker

if TYPE_CHECKING:
    from reproduction.authors import Faults
    from reproduction.brain.measures import Maps
    from vae_loc.model.vae import VAE

SETTING = ("protocol", "fault", "latents", "c", "image_size")
FAULTS = ("none", "double exp", "constant", "min-max", "bare Rec-Error", "script's smoothing", "all")
CS = (0.3, 1.0)  # the constant, 0.919 + log c, turns negative below 0.4


def run_faults(
    source: Source, folder: Path, name: str, *, seeds: int, jobs: int = 1, quick: bool = False, bars: BarMaker
) -> list[Row]:
    """Run what is missing: with each fault the default network is trained, scored and measured."""
    base = BASE | {"image_size": QUICK_SIZE, "latents": 16} if quick else BASE
    settings = [
        {"protocol": name, "fault": fault} | base | {"c": c} for c in CS[-1 if quick else 0 :] for fault in FAULTS
    ]
    file = prepared(source, folder, int(str(base["image_size"])), bars)
    keys = keys_of(settings, 1 if quick else seeds)
    return sweep(keys, partial(perform_run, file, quick), folder, jobs=jobs, bars=bars)


def perform_run(file: Path, quick: bool, key: Key) -> dict[str, float]:
    """Train with or without the double exp, score with one fault, measure in the brain and over all pixels."""
    from reproduction.brain.measures import maps_of, maps_of_script, measure_cohort

    data, faults, c = loaded(file), faults_of(key["fault"]), float(key["c"])
    model = _trained(
        file, key["protocol"], int(key["latents"]), c, int(key["seed"]), double_exp=faults.double_exp, quick=quick
    )
    results: dict[str, float] = {}
    for cohort, patients in data.cohorts.items():
        scored = [
            maps_of_script(model, patient.stack, c=c, faults=faults)
            if key["fault"] in ("all", "script's smoothing")
            else maps_of(model, patient.stack, c=c, faults=faults, pixel_mm=data.pixel_mm)
            for patient in patients
        ]
        maps = [of for of, _ in scored]
        figures = measure_cohort(patients, maps, [fields for _, fields in scored])
        figures |= _alike(patients, maps) | {"constant auroc all pixels": _flat(patients)}
        results |= {f"{cohort}/{name}": value for name, value in figures.items()}
    return results


@lru_cache(maxsize=2)
def _trained(file: Path, name: str, latents: int, c: float, seed: int, *, double_exp: bool, quick: bool) -> VAE:
    """Return a network; of all faults the double exp alone has a say in its training."""
    from reproduction.authors import Faults
    from reproduction.brain.training import QUICK_STEPS, protocol_of, train_brain

    data = loaded(file)
    protocol = replace(protocol_of(name), faults=Faults(double_exp=double_exp))
    if quick:
        protocol = replace(protocol, way="constant", epochs=0, steps=QUICK_STEPS)
    return train_brain(data.training, data.validation, protocol, latents=latents, c=c, seed=seed)


def faults_of(name: str) -> Faults:
    """Return the switches of a named fault."""
    from reproduction.authors import ALL_FAULTS, NO_FAULTS, Faults

    return {
        "double exp": Faults(double_exp=True),
        "constant": Faults(constant=True),
        "min-max": Faults(min_max=True),
        "bare Rec-Error": Faults(bare_error=True),
        "all": ALL_FAULTS,
    }.get(name, NO_FAULTS)


def _alike(patients: Sequence[Patient], maps: Sequence[Maps]) -> dict[str, float]:
    """Return Spearman's rho of Combi with its two factors, over the brains; and the share of negative Rec-Error."""
    from scipy.stats import spearmanr

    inside = {
        name: np.concatenate([of[name][patient.stack.mask] for patient, of in zip(patients, maps, strict=True)])
        for name in ("combi", "kl-grad", "rec-error")
    }
    return {
        f"combi rank {name}": float(spearmanr(inside["combi"], inside[name]).statistic)
        for name in ("kl-grad", "rec-error")
    } | {"rec-error negative": float((inside["rec-error"] < 0).mean())}


def _flat(patients: Sequence[Patient]) -> float:
    """Return the AUROC over all pixels of a map that is 1 inside the brain and 0 outside."""
    truth = np.concatenate([patient.truth.ravel() for patient in patients])
    brain = np.concatenate([patient.stack.mask.ravel() for patient in patients]).astype(np.float32)
    return rank(truth, brain).auroc or np.nan
