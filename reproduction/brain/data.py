"""Healthy and annotated brains -> slices on the canonical grid, prepared once and kept in one file.

Intensities, grid and low-pass are those of `canonical`; the pose is the scanner's. Bare slices need no more.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vae_loc.errors import UnusableOption
from vae_loc.preprocessing.canonical import FIELD_OF_VIEW_MM, CanonicalVolume, onto_grid, smooth_brain, to_canonical
from vae_loc.preprocessing.open_scan import open_scan
from vae_loc.preprocessing.pseudo_contrast import appearance
from vae_loc.preprocessing.slices import SliceStack, substantial, to_slices
from vae_loc.scans.annotations import LabelledCase, find_labelled
from vae_loc.scans.cases import Case, find_cases, split_subjects
from vae_loc.scans.volume import read_labels
from vae_loc.system.progress import BarMaker
from vae_loc.system.writing import write_atomically
from vae_loc.vocabulary import METHODS, BoolArray, FloatArray

HOLDOUT = 0.2  # of the healthy subjects, for validation
HOLDOUT_SEED = 0
APPEARANCES = 2  # of every T1 brain where another contrast is made of it
LESION_COVERAGE = 0.5  # of a canonical pixel from which on it is annotated
ANY_COVERAGE = 1e-3  # below it a pixel holds no lesion
MAPS = (*METHODS, "intensity")  # the last needs no network


@dataclass(frozen=True)
class Source:
    """The scans: healthy ones, and annotated cohorts by name."""

    healthy: tuple[Case, ...]
    cohorts: tuple[tuple[str, tuple[LabelledCase, ...]], ...]
    contrast: str
    synthesize_from: str | None


@dataclass(frozen=True)
class Patient:
    """One annotated brain.

    Attributes
    ----------
    stack : its slices
    truth : bool (S, H, W), where at least half of a pixel is lesion
    diseased, healthy : bool (S,), slices that are so for certain; the others count for nothing
    """

    subject: str
    stack: SliceStack
    truth: BoolArray
    diseased: BoolArray
    healthy: BoolArray


@dataclass(frozen=True)
class Prepared:
    """Slices (N, H, W) to train on, those to validate on, and the patients of each cohort."""

    training: NDArray[np.float16]
    validation: NDArray[np.float16]
    cohorts: dict[str, list[Patient]]
    pixel_mm: float


def find_source(
    healthy: Sequence[Path],
    patients: Sequence[Path],
    labels: Sequence[str],
    *,
    contrast: str,
    synthesize_from: str | None,
) -> Source:
    """Return the cases; each folder of patients is a cohort, with its own pattern of labels.

    Raises
    ------
    UnusableOption : if a folder of patients has no pattern, or the healthy scans are missing.
    UnusableInput : if a folder holds no scan, or a scan has no annotation.
    """
    if not healthy or not patients or len(patients) != len(labels):
        counts = f"{len(healthy)}, {len(patients)} and {len(labels)}"
        raise UnusableOption("reproduce", f"expected --healthy, and one --labels for every --patients; got {counts}")
    cohorts = tuple(
        (place.name, tuple(find_labelled([place], pattern, contrast=contrast)))
        for place, pattern in zip(patients, labels, strict=True)
    )
    cases = tuple(find_cases(healthy, contrast=synthesize_from or contrast))
    return Source(cases, cohorts, contrast, synthesize_from)


def prepared(source: Source, folder: Path, image_size: int, bars: BarMaker) -> Path:
    """Return the file of slices of this source and size, after making it where it is missing."""
    path = folder / f"slices-{image_size}-{_fingerprint(source)}.safetensors"
    if path.exists():
        return path
    from safetensors.numpy import save

    training, held_out = split_subjects(source.healthy, holdout=HOLDOUT, seed=HOLDOUT_SEED)
    advance = bars(f"slices of {image_size}", len(source.healthy) + sum(len(pairs) for _, pairs in source.cohorts))
    tensors: dict[str, NDArray[np.generic]] = {}
    for name, cases in (("training", training), ("validation", held_out)):
        parts = []
        for case in cases:
            parts += [_slices(brain) for brain in _healthy_brains(case, source, image_size)]
            advance(case.subject)
        tensors[name] = np.concatenate(parts)
    for cohort, pairs in source.cohorts:
        for number, pair in enumerate(pairs):
            for part, values in _patient(pair, source, image_size).items():
                tensors[f"{cohort}.{number:04d}.{part}"] = values
            advance(pair.case.subject)
    subjects = {
        f"{cohort}.{number:04d}": pair.case.subject
        for cohort, pairs in source.cohorts
        for number, pair in enumerate(pairs)
    }
    in_order = {name: np.asarray(tensor, order="C") for name, tensor in tensors.items()}  # safetensors 0.8 needs it
    write_atomically(path, save(in_order, metadata=subjects))
    return path


def load_prepared(path: Path) -> Prepared:
    """Return the slices that `prepared` wrote."""
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as file:
        subjects: dict[str, str] = file.metadata()
        training, validation = file.get_tensor("training"), file.get_tensor("validation")
        cohorts: dict[str, list[Patient]] = {}
        for name in sorted(subjects):
            of = {part: file.get_tensor(f"{name}.{part}") for part in ("pixels", "mask", "truth", "sure")}
            count = len(of["pixels"])
            stack = SliceStack(
                of["pixels"].astype(np.float32), of["mask"], np.arange(count, dtype=np.float64), np.arange(count)
            )
            patient = Patient(subjects[name], stack, of["truth"], of["sure"] == 1, of["sure"] == 0)
            cohorts.setdefault(name.rpartition(".")[0], []).append(patient)
    return Prepared(training, validation, cohorts, FIELD_OF_VIEW_MM / training.shape[1])


def _healthy_brains(case: Case, source: Source, image_size: int) -> Iterator[CanonicalVolume]:
    contrast = source.synthesize_from or source.contrast
    canonical = _canonical(case, contrast, image_size)
    if source.synthesize_from is None:
        yield canonical
        return
    digest = hashlib.sha256(case.subject.encode()).digest()
    rng = np.random.default_rng(int.from_bytes(digest[:8], "little"))
    for _ in range(APPEARANCES):
        yield appearance(canonical, source.contrast, rng)


def _canonical(case: Case, contrast: str, image_size: int) -> CanonicalVolume:
    scan = open_scan(case)
    return to_canonical(smooth_brain(scan.volume, scan.brain, image_size=image_size), contrast=contrast)


def _slices(canonical: CanonicalVolume) -> NDArray[np.float16]:
    stack = to_slices(canonical)
    return stack.pixels[substantial(stack)].astype(np.float16)


def _patient(pair: LabelledCase, source: Source, image_size: int) -> dict[str, NDArray[np.generic]]:
    scan = open_scan(pair.case)
    truth, _ = read_labels(pair.label, scan.volume)
    canonical = to_canonical(smooth_brain(scan.volume, scan.brain, image_size=image_size), contrast=source.contrast)
    stack = to_slices(canonical)
    covered = onto_grid(truth.astype(np.float32), scan.volume, np.ones_like(truth), canonical.grid)
    covered = covered[:, :, stack.indices].transpose(2, 0, 1)
    return {
        "pixels": stack.pixels.astype(np.float16),
        "mask": stack.mask,
        "truth": covered >= LESION_COVERAGE,
        "sure": _certain(covered, stack),
    }


def _certain(covered: FloatArray, stack: SliceStack) -> NDArray[np.int8]:
    """Return 1 for diseased slices, 0 for healthy ones, -1 for those that are neither for certain."""
    from vae_loc.evaluation.scan_metrics import MIN_LESION_PIXELS

    lesion = (covered >= LESION_COVERAGE).sum(axis=(1, 2)) >= MIN_LESION_PIXELS * (covered.shape[1] / 64) ** 2
    none = covered.max(axis=(1, 2)) < ANY_COVERAGE
    result: NDArray[np.int8] = np.where(lesion, 1, np.where(none, 0, -1)).astype(np.int8)
    return np.where(substantial(stack), result, np.int8(-1))


def _fingerprint(source: Source) -> str:
    scans = [case.scan for case in source.healthy]
    scans += [path for _, pairs in source.cohorts for pair in pairs for path in (pair.case.scan, pair.label)]
    text = " ".join([source.contrast, str(source.synthesize_from), *(str(path.resolve()) for path in scans)])
    return hashlib.sha256(text.encode()).hexdigest()[:12]
