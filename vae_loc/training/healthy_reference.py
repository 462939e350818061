"""What is healthy: mean and spread by place, and quantiles of every score, on a held-out fifth (design [7])."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vae_loc.errors import UnusableInput
from vae_loc.model.checkpoint import Checkpoint, with_places
from vae_loc.model.facts import Healthy, quantiles
from vae_loc.model.network import ScoreTerms, build_model
from vae_loc.preprocessing.brain_mask import find_brain
from vae_loc.preprocessing.canonical import CanonicalVolume, all_from_canonical
from vae_loc.scans.cases import Case
from vae_loc.scans.volume import Volume, read_volume
from vae_loc.scoring.locate import Appear, CanonicalScores, canonical_of, score_canonical
from vae_loc.scoring.normalised_maps import Moments, mean_and_sd, moments, normalised_maps
from vae_loc.vocabulary import METHODS, SAMPLE_SCORES, BoolArray, BrainMask, FloatArray, Method

MAX_VOXELS_PER_SCAN = 50_000  # evenly spaced sample: 155 scans x 10 maps stay below 320 MB
PRIOR_SUBJECTS = 10  # a site's 5 to 20 scans alone give no spread by place
MIN_OTHERS = 4  # subjects from which a spread by place can be told
Sums = dict[str, Moments]
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

    The statistics by place are those of all subjects; each subject's own scores are set against those of the others,
    else its voxels would look more usual than a new subject's.

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
    network = build_model(model, device)
    template = {"template": model.places["template"]} if "template" in model.places else {}
    bare = with_places(model, template)
    subjects: dict[str, list[Case]] = {}
    for case in sorted(cases, key=lambda case: (case.subject, str(case.scan))):
        subjects.setdefault(case.subject, []).append(case)

    def scored(case: Case) -> HealthyScan:
        how = brain_mask or case.brain_mask or "auto"
        found = _scored(case, how, bare, network, appear_of(case))
        progress(case.scan.name)
        return found

    prior = _prior(model)
    total = _summed([prior, *(_moments(scored(case)) for of in subjects.values() for case in of)])
    sample = _Sample()
    for of in subjects.values():
        scans = [scored(case) for case in of]
        places = _places(_without(total, _summed([_moments(scan) for scan in scans])))
        for scan in scans:
            sample.add(scan, places)
    return with_places(model, template | _places(total), sample.healthy(len(subjects)))


@dataclass(frozen=True)
class HealthyScan:
    """A healthy scan, its brain, and what the network says of it on the canonical grid."""

    volume: Volume
    brain: BoolArray
    canonical: CanonicalVolume
    scores: CanonicalScores


def _scored(case: Case, how: BrainMask, model: Checkpoint, network: ScoreTerms, appear: Appear | None) -> HealthyScan:
    volume = read_volume(case.scan)
    brain, _ = find_brain(volume, how)
    canonical = canonical_of(volume, brain, model, appear)
    return HealthyScan(volume, brain, canonical, score_canonical(canonical, model, network, METHODS))


def _moments(scan: HealthyScan) -> Sums:
    """Return what one healthy brain adds to the statistics by place."""
    return {str(name): moments(values, scan.canonical.mask) for name, values in scan.scores.features.items()}


def _prior(model: Checkpoint) -> Sums:
    """Return what the model already knows of healthy brains, as if of `PRIOR_SUBJECTS` of this site; nothing if new."""
    known = [name.removesuffix(".sd") for name in model.places if name.endswith(".sd")]
    sums = {}
    for name in known:
        mean, sd = (model.places[f"{name}.{part}"].astype(np.float64) for part in ("mean", "sd"))
        sums[name] = PRIOR_SUBJECTS * np.stack([sd > 0, mean, mean**2 + sd**2]) * (sd > 0)
    return sums


def _summed(parts: Iterable[Sums]) -> Sums:
    total: Sums = {}
    for part in parts:
        for name, sums in part.items():
            total[name] = total[name] + sums if name in total else sums
    return total


def _without(total: Sums, own: Sums) -> Sums:
    """Return what all but one subject say, or all, where the others are too few to know a spread."""
    others = {name: total[name] - sums for name, sums in own.items()}
    return others if all(sums[0].max() >= MIN_OTHERS for sums in others.values()) else total


def _places(sums: Sums) -> dict[str, FloatArray]:
    """Return mean and standard deviation by place of every feature."""
    return {
        f"{name}.{part}": values
        for name, of in sums.items()
        for part, values in zip(("mean", "sd"), mean_and_sd(of), strict=True)
    }


class _Sample:
    """Scores of healthy voxels, slices and volumes, scan by scan."""

    def __init__(self) -> None:
        self.maps: dict[Method, list[FloatArray]] = {method: [] for method in METHODS}
        self.raw_maps: dict[Method, list[FloatArray]] = {method: [] for method in METHODS}
        self.slices: dict[str, list[NDArray[np.float64]]] = {name: [] for name in SAMPLE_SCORES}
        self.volumes: dict[str, list[float]] = {name: [] for name in SAMPLE_SCORES}

    def add(self, scan: HealthyScan, places: dict[str, FloatArray]) -> None:
        """Take an even sample of the scan's voxels, normalised_maps by `places`."""
        maps = normalised_maps(scan.scores.features, scan.canonical.mask, places, METHODS)
        step = max(1, int(np.count_nonzero(scan.brain)) // MAX_VOXELS_PER_SCAN)
        for kept, of in ((self.maps, maps), (self.raw_maps, scan.scores.raw_maps)):
            magnitudes = [np.abs(of[method]) for method in METHODS]
            on_grid = all_from_canonical(magnitudes, scan.canonical, scan.volume, scan.brain)
            for method, values in zip(METHODS, on_grid, strict=True):
                kept[method].append(values[scan.brain][::step])
        samples = scan.scores.samples
        for name in SAMPLE_SCORES:
            self.slices[name].append(samples.slices[name][samples.counted])
            self.volumes[name].append(samples.volume[name])

    def healthy(self, subjects: int) -> Healthy:
        """Return the quantiles of all."""
        return Healthy(
            subjects=subjects,
            maps={method: quantiles(np.concatenate(parts)) for method, parts in self.maps.items()},
            raw_maps={method: quantiles(np.concatenate(parts)) for method, parts in self.raw_maps.items()},
            slices={name: quantiles(np.concatenate(parts)) for name, parts in self.slices.items()},
            volumes={name: quantiles(np.array(values)) for name, values in self.volumes.items()},
        )
