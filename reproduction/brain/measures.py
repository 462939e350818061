"""Figures of maps and sample-wise scores on annotated brains, on the canonical grid.

Pixel-wise, inside the brain: AUROC and AP, mean over the patients; Dice with a threshold chosen on one fifth of
them and reported on the others. `all pixels`: pooled with the background, as the authors' script does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from reproduction.authors import Faults, SliceFields, score_fields, script_maps
from reproduction.brain.data import MAPS, Patient
from vae_loc.evaluation.metrics import Floats, dice_at, rank, rank_sorted
from vae_loc.model.vae import VAE
from vae_loc.preprocessing.slices import SliceStack
from vae_loc.preprocessing.smoothing import smoothed
from vae_loc.training.calibrate import split_parts
from vae_loc.vocabulary import METHODS, FloatArray, Method

SMOOTHING_FWHM_MM = 6.0  # the one rule for all bare maps (design [9])
SAMPLE_SCORES = ("kl", "rec", "elbo", "area")
SPLIT_SEED = 0  # of the fifths
Maps = dict[str, FloatArray]


def maps_of(model: VAE, stack: SliceStack, *, c: float, faults: Faults, pixel_mm: float) -> tuple[Maps, SliceFields]:
    """Return the five maps and the bare intensity, (S, H, W), by our rule of smoothing, and the sample-wise scores."""
    fields = score_fields(model, stack, c=c, faults=faults)
    plain = score_fields(model, stack, c=c, faults=replace(faults, min_max=False)) if faults.min_max else fields

    def smooth(values: FloatArray) -> FloatArray:
        return smoothed(values, stack.mask, pixel_mm, SMOOTHING_FWHM_MM)

    bare = faults.bare_error
    maps: Maps = {
        "rec-error": fields.error if bare else smooth(fields.error),
        "kl-grad": smooth(plain.kl_gradient),  # scaled within Combi alone
        "rec-grad": smooth(fields.rec_gradient),
        "elbo-grad": smooth(fields.elbo_gradient),
        "combi": smooth(fields.kl_gradient) * fields.error if bare else smooth(fields.kl_gradient * fields.error),
        "intensity": smooth(stack.pixels),
    }
    return maps, fields


def maps_of_script(model: VAE, stack: SliceStack, *, c: float, faults: Faults) -> tuple[Maps, SliceFields]:
    """Return the maps as the authors' script makes them, and the bare intensity."""
    fields = score_fields(model, stack, c=c, faults=Faults(faults.double_exp, faults.constant))
    scaled = score_fields(model, stack, c=c, faults=Faults(faults.double_exp, faults.constant, min_max=True))
    made: dict[Method, FloatArray] = script_maps(fields, min_max_fields=scaled if faults.min_max else None)
    return {**{str(method): made[method] for method in METHODS}, "intensity": stack.pixels}, fields


def measure_cohort(
    patients: Sequence[Patient], maps: Sequence[Maps], fields: Sequence[SliceFields]
) -> dict[str, float]:
    """Return the figures of one cohort; what is undefined is NaN."""
    figures = _sample_wise(patients, fields)
    subjects = [patient.subject for patient in patients]
    parts = split_parts(subjects, seed=SPLIT_SEED)
    for name in MAPS:
        lesions, others = [], []
        for patient, of in zip(patients, maps, strict=True):
            inside, truth = of[name][patient.stack.mask], patient.truth[patient.stack.mask]
            lesions.append(np.sort(inside[truth]))
            others.append(np.sort(inside[~truth]))
        ranked = [rank_sorted([one], [other]) for one, other in zip(lesions, others, strict=True)]
        figures[f"{name} auroc"] = _mean([ranking.auroc for ranking in ranked])
        figures[f"{name} ap"] = _mean([ranking.average_precision for ranking in ranked])
        everywhere = np.concatenate([patient.truth.ravel() for patient in patients])
        pooled = np.concatenate(
            [_with_background(of[name], patient) for patient, of in zip(patients, maps, strict=True)]
        )
        figures[f"{name} auroc all pixels"] = _number(rank(everywhere, pooled).auroc)
        figures[f"{name} auroc pooled"] = _number(rank_sorted(lesions, others).auroc)
        figures[f"{name} dice oracle"] = _number(rank_sorted(lesions, others).best_dice)
        for fold, chosen in enumerate(parts):
            used = [subject in chosen for subject in subjects]
            there, elsewhere = _split_dice(lesions, others, used)
            figures[f"{name} dice there {fold}"], figures[f"{name} dice {fold}"] = there, elsewhere
        figures[f"{name} dice"] = _mean([figures[f"{name} dice {fold}"] for fold in range(len(parts))])
    return figures


def _with_background(values: FloatArray, patient: Patient) -> FloatArray:
    """Return all pixels of a patient; the background of a map that is smoothed over the brain is below all of it."""
    outside = ~patient.stack.mask
    if values[outside].any():
        return values.ravel()
    low = min(0.0, float(values.min()) - 1e-6)
    return np.where(outside, np.float32(low), values).ravel()


def _split_dice(lesions: Sequence[Floats], others: Sequence[Floats], used: Sequence[bool]) -> tuple[float, float]:
    """Return the best Dice on the patients used, and the mean Dice of the others at that threshold."""
    best = rank_sorted(*([part for part, use in zip(side, used, strict=True) if use] for side in (lesions, others)))
    if best.best_threshold is None or best.best_dice is None:
        return np.nan, np.nan
    elsewhere = [
        dice_at(lesion, other, best.best_threshold)
        for lesion, other, use in zip(lesions, others, used, strict=True)
        if not use
    ]
    return best.best_dice, _mean(elsewhere)


def _sample_wise(patients: Sequence[Patient], fields: Sequence[SliceFields]) -> dict[str, float]:
    """Return the AUROC of diseased slices against healthy ones of the same patients."""
    chosen = [patient.diseased | patient.healthy for patient in patients]
    diseased = np.concatenate([patient.diseased[use] for patient, use in zip(patients, chosen, strict=True)])
    scores: Mapping[str, list[Floats]] = {
        "kl": [of.kl for of in fields],
        "rec": [of.rec for of in fields],
        "elbo": [of.kl + of.rec for of in fields],
        "area": [patient.stack.mask.sum(axis=(1, 2)).astype(float) for patient in patients],
    }
    return {
        f"{name} sample auroc": _number(
            rank(diseased, np.concatenate([value[use] for value, use in zip(values, chosen, strict=True)])).auroc
        )
        for name, values in scores.items()
    }


def _mean(values: Sequence[float | None]) -> float:
    known = [value for value in values if value is not None and not np.isnan(value)]
    return float(np.mean(known)) if known else np.nan


def _number(value: float | None) -> float:
    return np.nan if value is None else value
