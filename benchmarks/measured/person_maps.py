"""The maps of healthy people in T1, T2 and FLAIR, with and without a transplanted lesion, for `persons.py`.

Healthy T2 and FLAIR are made from T1 (`appearance_of`), so the three contrasts of one person lie on one grid and their
maps depend on each other more than those of real scans do. A lesion lies at the same place in all three: a patient's
glioma, each contrast from that patient's own scan; a hole filled with fluid; a small faint spot. Nobody is judged by
statistics that know him: people lie in five folds, as in `findings.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.cohorts import CONTRASTS, cases_in
from benchmarks.transplants import Placed, blended, placed
from benchmarks.trial import Healthy, features, folds, healthy_brains
from vae_loc.model.network import load_model
from vae_loc.preprocessing.canonical import BACKGROUND_SD, CanonicalVolume, onto_grid
from vae_loc.preprocessing.open_scan import open_scan
from vae_loc.preprocessing.resampling import doubled_mask, interpolated
from vae_loc.scans.volume import read_labels
from vae_loc.scoring.aligned_scan import canonical_of
from vae_loc.vocabulary import BoolArray, FloatArray

SCANNERS = "IXI, ds002748"  # whose statistics the shipped models hold


@dataclass
class Patient:
    """A patient's brains on the canonical grid of the T1 scan, by contrast, also at half the pixel, and where the glioma is."""

    brains: dict[str, FloatArray]
    fine: dict[str, FloatArray]
    masks: dict[str, BoolArray]
    truth: BoolArray


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


def lesions_of(judged: Sequence[Healthy], patients: Sequence[Patient]) -> list[tuple[str, Placed, Patient]]:
    """Return a glioma, a hole and a spot for each host, placed in the T1 scan."""
    rng = np.random.default_rng(0)
    lesions = []
    for number, host in enumerate(judged):
        patient = patients[number % len(patients)]
        covered = patient.truth & np.logical_and.reduce(list(patient.masks.values()))
        lesions += [(host.case.subject, one, patient) for one in placed(host.canonical.mask, covered, rng)]
    return lesions


def people_of(models: Path, shared: Path) -> list[Person]:
    """Score everybody in three contrasts; return those that the networks did not learn from, with their maps."""
    patients = patients_of(models, shared)
    people: dict[str, Person] = {}
    lesions: list[tuple[str, Placed, Patient]] = []
    for contrast in CONTRASTS:
        model_file = models / f"{contrast}.safetensors"
        model = load_model(model_file)
        healthy = list(healthy_brains(model, model_file, shared))
        statistics = folds(healthy, SCANNERS, modes=bool(model.checkpoint.modes))
        hosts = {brain.case.subject: brain for brain in healthy if not brain.learned}
        lesions = lesions or lesions_of(list(hosts.values()), patients)
        for subject, host in hosts.items():
            person = people.setdefault(subject, Person(subject, host.scanner, statistics.of[subject], {}, {}, {}))
            person.maps[contrast, "healthy"] = statistics.signed(host.features, host, ["combi"], contrast)["combi"]
            person.masks[contrast] = doubled_mask(host.canonical.mask)
        for subject, one, patient in lesions:
            host = hosts[subject]
            glioma = patient.brains[contrast], patient.fine[contrast]
            values = one.values(contrast, host.canonical, glioma)
            ill = features(blended(host.canonical, *values, one.inside & host.canonical.mask), model)
            people[subject].maps[contrast, one.kind] = statistics.signed(ill, host, ["combi"], contrast)["combi"]
        print(contrast, "scored", flush=True)
    for subject, one, _ in lesions:
        people[subject].truths[one.kind] = doubled_mask(one.inside)
    return list(people.values())
