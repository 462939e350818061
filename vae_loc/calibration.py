"""What is healthy: mean and spread by place, and quantiles of every score, on a held-out fifth (design [7])."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from vae_loc.brain import BrainMask, find_brain
from vae_loc.checkpoint import METHODS, SAMPLE_SCORES, Checkpoint, Healthy, Method, quantiles, with_places
from vae_loc.cohort import Case
from vae_loc.errors import UnusableInput
from vae_loc.locate import Appear, canonical_of, locate, score_canonical
from vae_loc.normalise import Moments, mean_and_sd, moments
from vae_loc.scoring import Network, build_model
from vae_loc.volume import FloatArray, read_volume

MAX_VOXELS_PER_SCAN = 50_000  # evenly spaced sample: 155 scans x 10 maps stay below 320 MB
PRIOR_SUBJECTS = 10  # a site's 5 to 20 scans alone give no spread by place
AppearOf = Callable[[Case], Appear | None]


def calibrate_healthy(
    model: Checkpoint,
    cases: Sequence[Case],
    *,
    brain_mask: BrainMask | None = None,
    device: str = "cpu",
    appear_of: AppearOf = lambda _: None,
    progress: Callable[[str], None] = lambda _: None,
) -> Checkpoint:
    """Return a copy of `model` that knows the healthy distribution of every score.

    Parameters
    ----------
    cases : healthy scans that the model was not trained on
    brain_mask : None takes the mask beside each scan where there is one, else `auto`
    appear_of : for models of a synthesized contrast: how each case is made to look
    progress : called twice a scan

    Raises
    ------
    UnusableInput : if there is no case, or one cannot be read.
    """
    if not cases:
        raise UnusableInput("calibration", "expected at least one healthy scan, got none")
    ordered = sorted(cases, key=lambda case: (case.subject, str(case.scan)))
    network = build_model(model, device)
    places = {"template": model.places["template"]} if "template" in model.places else {}
    bare = with_places(model, places)
    sums: dict[str, Moments] = {}
    for case in ordered:
        for name, parts in _moments(case, bare, network, brain_mask, appear_of(case)).items():
            sums[name] = sums[name] + parts if name in sums else parts
        progress(case.scan.name)
    for name, total in sums.items():
        known = total + _prior(model, name)
        places |= dict(zip((f"{name}.mean", f"{name}.sd"), mean_and_sd(known), strict=True))
    placed = with_places(model, places)
    return with_places(placed, places, _quantiles(ordered, placed, network, brain_mask, appear_of, progress))


def _prior(model: Checkpoint, name: str) -> Moments | float:
    """Return what the model already knows of healthy brains, as if of `PRIOR_SUBJECTS` of this site; 0 if nothing."""
    if f"{name}.mean" not in model.places:
        return 0.0
    mean, sd = (model.places[f"{name}.{part}"].astype(np.float64) for part in ("mean", "sd"))
    return PRIOR_SUBJECTS * np.stack([sd > 0, mean, mean**2 + sd**2]) * (sd > 0)


def _moments(
    case: Case, model: Checkpoint, network: Network, brain_mask: BrainMask | None, appear: Appear | None
) -> dict[str, Moments]:
    """Return what one healthy brain adds to the statistics by place."""
    volume = read_volume(case.scan)
    brain, _ = find_brain(volume, brain_mask or case.brain_mask or "auto")
    canonical = canonical_of(volume, brain, model, appear)
    features = score_canonical(canonical, model, network, METHODS).features
    return {str(name): moments(values, canonical.mask) for name, values in features.items()}


def _quantiles(
    cases: Sequence[Case],
    model: Checkpoint,
    network: Network,
    brain_mask: BrainMask | None,
    appear_of: AppearOf,
    progress: Callable[[str], None],
) -> Healthy:
    maps: dict[Method, list[FloatArray]] = {method: [] for method in METHODS}
    raw_maps: dict[Method, list[FloatArray]] = {method: [] for method in METHODS}
    slices: dict[str, list[NDArray[np.float64]]] = {name: [] for name in SAMPLE_SCORES}
    volumes: dict[str, list[float]] = {name: [] for name in SAMPLE_SCORES}
    for case in cases:
        how = brain_mask or case.brain_mask or "auto"
        found = locate(read_volume(case.scan), model, network, brain_mask=how, methods=METHODS, appear=appear_of(case))
        step = max(1, int(np.count_nonzero(found.brain)) // MAX_VOXELS_PER_SCAN)
        for method in METHODS:
            maps[method].append(found.maps[method][found.brain][::step])
            raw_maps[method].append(found.raw_maps[method][found.brain][::step])
        for name in SAMPLE_SCORES:
            slices[name].append(found.scores.slices[name][found.scores.counted])
            volumes[name].append(found.scores.volume[name])
        progress(case.scan.name)
    return Healthy(
        subjects=len({case.subject for case in cases}),
        maps={method: quantiles(np.concatenate(parts)) for method, parts in maps.items()},
        raw_maps={method: quantiles(np.concatenate(parts)) for method, parts in raw_maps.items()},
        slices={name: quantiles(np.concatenate(parts)) for name, parts in slices.items()},
        volumes={name: quantiles(np.array(values)) for name, values in volumes.items()},
    )
