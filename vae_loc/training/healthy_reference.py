"""What is healthy: mean and spread by place, and quantiles of each score, on a held-out fifth (design [7])."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from vae_loc.errors import UnusableInput
from vae_loc.model.checkpoint import Checkpoint, with_places
from vae_loc.model.facts import Healthy, quantiles
from vae_loc.model.network import Model, ready
from vae_loc.preprocessing.canonical import CanonicalVolume, canonical_brain
from vae_loc.preprocessing.open_scan import open_scan
from vae_loc.preprocessing.prepared_scan import PreparedScan, prepare_scan
from vae_loc.preprocessing.pseudo_contrast import Appear
from vae_loc.scans.cases import Case
from vae_loc.scoring.locate import CanonicalScores, registration_of, score_canonical
from vae_loc.scoring.normalised_maps import Moments, mean_and_sd, moments, normalised_maps
from vae_loc.system.array_store import ArrayStore
from vae_loc.vocabulary import METHODS, SAMPLE_SCORES, BrainMask, FloatArray, Method

MAX_VOXELS_PER_SCAN = 50_000  # evenly spaced sample: 155 scans x 10 maps stay below 320 MB
PRIOR_SUBJECTS = 10  # a site's 5 to 20 scans alone give no spread by place
MIN_OTHERS = 4  # subjects from which a spread by place can be told
Sums = dict[str, Moments]
AppearOf = Callable[[Case], Appear | None]


@dataclass(frozen=True)
class HealthyBrain:
    """A healthy brain, aligned to the model's template; `appear` gives it the look of a synthesized contrast."""

    case: Case
    scan: PreparedScan
    canonical: CanonicalVolume
    appear: Appear | None = None


@dataclass(frozen=True)
class _Scored:
    """A healthy brain as the network saw it, and its scores."""

    brain: HealthyBrain
    canonical: CanonicalVolume
    scores: CanonicalScores


def calibrate_cases(
    model: Checkpoint,
    cases: Sequence[Case],
    *,
    brain_mask: BrainMask | None = None,
    device: str = "cpu",
    appear_of: AppearOf = lambda _: None,
    progress: Callable[[str], None] = lambda _: None,
) -> Checkpoint:
    """Return a copy of `model` that knows the healthy distribution of each score on these scans.

    Parameters
    ----------
    cases : healthy scans that the model was not trained on; each is read once
    brain_mask : None takes the mask beside each scan where there is one, else `auto`
    appear_of : for models of a synthesized contrast: how each case is made to look
    progress : called once for each scan

    Raises
    ------
    UnusableInput : if there is no case, or one cannot be read.
    """
    registration = registration_of(model)
    facts = model.facts
    with ArrayStore() as store:
        brains = []
        for case in cases:
            scan = open_scan(case, brain_mask=brain_mask)
            kept = prepare_scan(scan, image_size=facts.network.image_size, store=store)
            appear = appear_of(case)
            contrast = facts.contrast if appear is None else facts.training.synthesized_from or facts.contrast
            canonical = canonical_brain(
                kept.smooth,
                image_size=facts.network.image_size,
                contrast=contrast,
                template=model.places.get("template"),
                registration=registration,
            )
            brains.append(HealthyBrain(case, kept, canonical, appear))
            progress(case.scan.name)
        return calibrate_healthy(model, brains, device=device, store=store)


def calibrate_healthy(
    model: Checkpoint,
    brains: Sequence[HealthyBrain],
    *,
    device: str = "cpu",
    store: ArrayStore,
    progress: Callable[[str], None] = lambda _: None,
) -> Checkpoint:
    """Return a copy of `model` that knows the healthy distribution of each score on these brains.

    The statistics by place, float32 (I, I, I), are those of all subjects; the scores of a subject are set against those
    of the others, else its voxels would look more usual than a new subject's.

    Parameters
    ----------
    store : keeps the scores of the brains, so that each is scored once
    progress : called once for each brain

    Raises
    ------
    UnusableInput : if there is no brain, or TMPDIR is full.
    """
    if not brains:
        raise UnusableInput("calibration", "expected at least one healthy scan, got none")
    template = {"template": model.places["template"]} if "template" in model.places else {}
    bare = ready(with_places(model, template), device)
    subjects: dict[str, list[_Scored]] = {}
    for brain in sorted(brains, key=lambda brain: (brain.case.subject, str(brain.case.scan))):
        subjects.setdefault(brain.case.subject, []).append(_scored(brain, bare, store))
        progress(brain.case.scan.name)
    total = _summed([_prior(model), *(_moments(scan) for scans in subjects.values() for scan in scans)])
    sample = _Sample()
    for scans in subjects.values():
        places = _places(_without(total, _summed([_moments(scan) for scan in scans])))
        for scan in scans:
            sample.add(scan, places)
    return with_places(model, template | _places(total), sample.healthy(len(subjects)))


def _scored(brain: HealthyBrain, model: Model, store: ArrayStore) -> _Scored:
    """Return the scores of a brain, their arrays kept outside memory."""
    canonical = brain.canonical if brain.appear is None else brain.appear(brain.canonical)
    scores = score_canonical(canonical, model, METHODS)
    kept = replace(
        scores,
        raw_maps={method: store.kept(values) for method, values in scores.raw_maps.items()},
        features={name: store.kept(values) for name, values in scores.features.items()},
        residual=store.kept(scores.residual),
    )
    return _Scored(brain, replace(canonical, data=store.kept(canonical.data)), kept)


def _moments(scan: _Scored) -> Sums:
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
    """Return the sums of all subjects but one, or of all, where the others are too few to know a spread."""
    others = {name: total[name] - sums for name, sums in own.items()}
    return others if all(sums[0].max() >= MIN_OTHERS for sums in others.values()) else total


def _places(sums: Sums) -> dict[str, FloatArray]:
    """Return mean and standard deviation by place of each feature."""
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

    def add(self, scan: _Scored, places: dict[str, FloatArray]) -> None:
        """Take an even sample of the scan's voxels, set against the statistics `places`."""
        maps = normalised_maps(scan.scores.features, scan.canonical.mask, places, METHODS)
        brain = scan.brain.scan.brain
        step = max(1, int(np.count_nonzero(brain)) // MAX_VOXELS_PER_SCAN)
        for kept, of in ((self.maps, maps), (self.raw_maps, scan.scores.raw_maps)):
            magnitudes = [np.abs(of[method]) for method in METHODS]
            on_grid = scan.brain.scan.on_own_grid(magnitudes, scan.canonical)
            for method, values in zip(METHODS, on_grid, strict=True):
                kept[method].append(values[brain][::step])
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
