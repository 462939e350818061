"""The maps of healthy people in T1, T2 and FLAIR, with and without a transplanted lesion, for `persons.py`.

Healthy T2 and FLAIR are made from T1 (`appearance_of`), so the three contrasts of one person lie on one grid and their
maps depend on each other more than those of real scans do. A lesion lies at the same place in all three: a patient's
glioma, each contrast from that patient's own scan; a hole filled with fluid; a small faint spot. Nobody is judged by
statistics that know him: people lie in five folds, as in `findings.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.measured.findings import Healthy, features, healthy_brains, widened
from benchmarks.transplants import FLUID_SD, KINDS, SPOT_SD, blended, blob, cases_in
from vae_loc.model.network import load_model
from vae_loc.preprocessing.canonical import BACKGROUND_SD, CanonicalVolume, onto_grid
from vae_loc.preprocessing.open_scan import open_scan
from vae_loc.preprocessing.resampling import doubled_mask, interpolated
from vae_loc.scans.volume import read_labels
from vae_loc.scoring.aligned_scan import canonical_of
from vae_loc.scoring.healthy_modes import count_for
from vae_loc.scoring.normalised_maps import Features, normalised_maps
from vae_loc.system.array_store import ArrayStore
from vae_loc.training.cross_fit import CrossFit, FoldedBrain, folds_of
from vae_loc.vocabulary import BoolArray, FloatArray

CONTRASTS = ("t1", "t2", "flair")
STATES = ("healthy", *KINDS)
SCANNERS = dict.fromkeys(CONTRASTS, ("IXI", "ds002748"))  # whose statistics the shipped models hold


@dataclass
class Patient:
    """A patient's brains on the canonical grid of the T1 scan, by contrast, also at half the pixel, and where the glioma is."""

    brains: dict[str, FloatArray]
    fine: dict[str, FloatArray]
    masks: dict[str, BoolArray]
    truth: BoolArray


@dataclass
class Lesion:
    """A lesion of one host: its kind, its pixels, and the intensities that each contrast has there."""

    host: str
    kind: str
    inside: BoolArray
    patient: Patient | None
    noise: float

    def values(self, contrast: str, host: CanonicalVolume) -> tuple[FloatArray, FloatArray]:
        """Return what the pixels of the lesion become, float32 (I, I, I), and those at half the pixel, (2I, 2I, 2I)."""
        if self.patient is not None:
            return self.patient.brains[contrast], self.patient.fine[contrast]
        own = (host.data, host.fine)
        if self.kind == "hole":
            data, fine = (np.full_like(values, FLUID_SD[contrast] + self.noise) for values in own)
        else:
            lift = np.float32(SPOT_SD[contrast] * self.noise)
            data, fine = (np.clip(values + lift, -3.5, 6) for values in own)
        return data, fine


@dataclass
class Person:
    """A healthy person who is judged: the signed maps of Combi by contrast and state, and the lesions.

    maps : float16 (2I, 2I, 2I) by (contrast, state); masks : bool, as large, by contrast; truths : by kind of lesion
    """

    subject: str
    scanner: str
    fold: int
    maps: dict[tuple[str, str], FloatArray]
    masks: dict[str, BoolArray]
    truths: dict[str, BoolArray]

    @property
    def brain(self) -> BoolArray:
        """The pixels that any contrast's mask holds, bool (2I, 2I, 2I)."""
        return np.logical_or.reduce(list(self.masks.values()))


def patients_of(models: Path, shared: Path) -> list[Patient]:
    """Return the gliomas, all contrasts on the T1 scan's canonical grid."""
    patients = []
    for case in cases_in(shared / "gliomas", "t1"):
        canonical = {}
        for contrast in CONTRASTS:
            scan = open_scan(next(of for of in cases_in(shared / "gliomas", contrast) if of.subject == case.subject))
            canonical[contrast] = canonical_of(scan, load_model(models / f"{contrast}.safetensors"))
            if contrast == "t1":
                truth, _ = read_labels(shared / "gliomas" / f"{case.subject}_seg.nii.gz", scan.volume)
                covered = onto_grid(truth.astype(np.float32), scan.volume, scan.brain, canonical["t1"].grid)
        moved = {contrast: _moved(of, canonical["t1"]) for contrast, of in canonical.items()}
        fine = {contrast: _moved(of.halved, canonical["t1"].halved)[0] for contrast, of in canonical.items()}
        data, masks = ({contrast: pair[i] for contrast, pair in moved.items()} for i in (0, 1))
        patients.append(Patient(data, fine, masks, covered > 0.5))
    return patients


def _moved(of: CanonicalVolume, onto: CanonicalVolume) -> tuple[FloatArray, BoolArray]:
    """Return a brain and its mask on the canonical grid of another scan of the same person."""
    onto2of = np.linalg.inv(of.grid.affine) @ onto.grid.affine
    weight = interpolated(of.mask.astype(np.float32), onto2of, of.mask.shape)
    summed = interpolated(of.data * of.mask, onto2of, of.mask.shape)
    data = np.full_like(summed, BACKGROUND_SD)
    np.divide(summed, weight, out=data, where=weight > 0.5)
    return data, weight > 0.5


def lesions_of(judged: Sequence[Healthy], patients: Sequence[Patient]) -> list[Lesion]:
    """Return a glioma, a hole and a spot for each host, placed in the T1 scan."""
    rng = np.random.default_rng(0)
    lesions = []
    for number, host in enumerate(judged):
        patient, mask = patients[number % len(patients)], host.canonical.mask
        covered = patient.truth & np.logical_and.reduce([mask, *patient.masks.values()])
        hole, spot = blob(mask, rng.uniform(9, 22), rng), blob(mask, rng.uniform(4, 8), rng)
        lift = rng.uniform(0.8, 1.5)
        lesions += [
            Lesion(host.case.subject, "glioma", covered, patient, 0.0),
            Lesion(host.case.subject, "hole", hole, None, rng.normal(0, 0.3)),
            Lesion(host.case.subject, "spot", spot, None, lift),
        ]
    return [lesion for lesion in lesions if lesion.inside.sum() >= 4]


def people_of(models: Path, shared: Path) -> list[Person]:
    """Score everybody in three contrasts; return those that the networks did not learn from, with their maps."""
    patients = patients_of(models, shared)
    people: dict[str, Person] = {}
    lesions: list[Lesion] = []
    for contrast in CONTRASTS:
        model_file = models / f"{contrast}.safetensors"
        healthy = list(healthy_brains(load_model(model_file), model_file, shared))
        judged = [brain for brain in healthy if not brain.learned]
        folds = folds_of([brain.case.subject for brain in healthy], modes=True)
        lesions = lesions or lesions_of(judged, patients)
        for brain in judged:
            subject = brain.case.subject
            people.setdefault(subject, Person(subject, brain.scanner, folds[subject], {}, {}, {}))
        for subject, state, signed, mask in _maps(contrast, models, healthy, lesions):
            people[subject].maps[contrast, state] = signed.astype(np.float16)
            people[subject].masks[contrast] = doubled_mask(mask)
        print(contrast, "scored", flush=True)
    for lesion in lesions:
        people[lesion.host].truths[lesion.kind] = doubled_mask(lesion.inside)
    return list(people.values())


def _maps(
    contrast: str, models: Path, healthy: Sequence[Healthy], lesions: Sequence[Lesion]
) -> Iterable[tuple[str, str, FloatArray, BoolArray]]:
    """Yield subject, state, signed map of Combi and mask of each judged person, without and with each lesion."""
    model = load_model(models / f"{contrast}.safetensors")
    folds = folds_of([brain.case.subject for brain in healthy], modes=True)
    known = [brain for brain in healthy if brain.scanner in SCANNERS[contrast]]
    with ArrayStore() as store:
        brains = [FoldedBrain(widened(b.features), b.canonical.mask, folds[b.case.subject]) for b in known]
        count = count_for(len(brains)) if model.checkpoint.modes else 0
        fit = CrossFit(brains, store, prior={}, count=count)
        by_fold = {fold: fit.statistics(frozenset({fold})) for fold in range(max(folds.values()) + 1)}

    def signed(of: Features, host: Healthy) -> FloatArray:
        statistics = by_fold[folds[host.case.subject]]
        maps = normalised_maps(
            widened(of), host.canonical.mask, statistics.reference, ["combi"], statistics.modes, contrast=contrast
        )
        return maps["combi"]

    hosts = {brain.case.subject: brain for brain in healthy if not brain.learned}
    for subject, host in hosts.items():
        yield subject, "healthy", signed(host.features, host), host.canonical.mask
    for lesion in lesions:
        host = hosts[lesion.host]
        inside = lesion.inside & host.canonical.mask
        ill = blended(host.canonical, *lesion.values(contrast, host.canonical), inside)
        yield lesion.host, lesion.kind, signed(features(ill, model), host), host.canonical.mask
