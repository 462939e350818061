"""What each part of the training is worth: models trained without it, `docs/measured/ablation.md`.

    python benchmarks/ablation.py --shared ../shared/data -o docs/measured/ablation.csv

Trains the T1 model anew for every row, on scans prepared once, with one thing changed, 1700 steps each but where said; calibrates it
on the held-out subjects and scores the gliomas on the canonical grid. One row for each run is appended at once: a killed
run goes on where it was. The page beside the CSV is made of all its rows. About 8 minutes a row on one free core.
"""

from __future__ import annotations

import argparse
import csv
import platform
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from vae_loc.evaluation.metrics import above, dice_at, rank_sorted
from vae_loc.model.checkpoint import checkpoint, healthy_threshold
from vae_loc.model.network import Model, load_model, ready
from vae_loc.preprocessing.canonical import CanonicalVolume, onto_grid
from vae_loc.preprocessing.open_scan import open_scan
from vae_loc.preprocessing.pseudo_contrast import appearance_of
from vae_loc.preprocessing.slices import to_slices
from vae_loc.scans.annotations import find_labelled
from vae_loc.scans.cases import find_cases
from vae_loc.scans.volume import read_labels
from vae_loc.scoring.aligned_scan import canonical_of
from vae_loc.scoring.locate import score_canonical
from vae_loc.scoring.normalised_maps import normalised_maps
from vae_loc.training import augmentation
from vae_loc.training.fit import SHORT_STEPS, FitOptions, join_slices, train_vae
from vae_loc.training.healthy_reference import calibrate_cases
from vae_loc.training.train import COARSE_NOISE_SD
from vae_loc.training.training_record import read_record
from vae_loc.vocabulary import METHODS

FPR = 0.05
FIELDS = ("variant", "seed", "method", "patient", "auroc", "ap", "dice", "flagged")


@dataclass(frozen=True)
class Variant:
    """A training with one thing changed: constants of `augmentation`, coarse noise, steps, appearances."""

    constants: dict[str, object] = field(default_factory=dict)
    coarse_noise_sd: float = COARSE_NOISE_SD
    steps: int = SHORT_STEPS
    gammas: bool = True


VARIANTS = {
    "as shipped": Variant(),
    "no coarse noise": Variant(coarse_noise_sd=0.0),
    "no random gammas": Variant(gammas=False),
    "no gain, offset": Variant({"MAX_GAIN": 0.0, "MAX_OFFSET_SD": 0.0}),
    "no shading": Variant({"MAX_BIAS": 0.0}),
    "no blur, noise": Variant({"MAX_BLUR": 0.0, "MAX_NOISE_SD": 0.0}),
    "no mask tightness": Variant({"ERODED_SHARE": 0.0}),
    "no pose": Variant({"MAX_ROTATION_RAD": 0.0, "MAX_SCALE": 0.0, "MAX_SHIFT": 0.0}),
    "no augmentation at all": Variant(
        {
            "MAX_GAIN": 0.0,
            "MAX_OFFSET_SD": 0.0,
            "MAX_BIAS": 0.0,
            "MAX_BLUR": 0.0,
            "MAX_NOISE_SD": 0.0,
            "ERODED_SHARE": 0.0,
            "MAX_ROTATION_RAD": 0.0,
            "MAX_SCALE": 0.0,
            "MAX_SHIFT": 0.0,
        },
        gammas=False,
    ),
    "three times the steps": Variant(steps=3 * SHORT_STEPS),
}


@dataclass(frozen=True)
class Patient:
    """A patient on the canonical grid, and where the lesion is."""

    subject: str
    canonical: CanonicalVolume
    truth: np.ndarray


def main() -> None:
    """Run what is missing, then write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, default=Path("../shared/data"))
    parser.add_argument("--only", action="append", choices=list(VARIANTS), help="this variant; may be repeated")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--output", type=Path, default=Path("docs/measured/ablation.csv"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = _rows(options.output)
    wanted = [
        v for v in options.only or VARIANTS if (v, options.seed) not in {(r["variant"], int(r["seed"])) for r in rows}
    ]
    if wanted:
        shipped = load_model("t1")
        prepared = prepare(shipped, options.shared)
        patients = patients_of(shipped, options.shared)
        for name in wanted:
            start = time.monotonic()
            model = train(VARIANTS[name], shipped, prepared, options.seed, options.shared)
            append(options.output, list(measured(name, options.seed, model, patients)))
            print(f"{name}: {time.monotonic() - start:.0f} s", flush=True)
    options.output.with_suffix(".md").write_text(page(_rows(options.output)))


def held_out_subjects() -> list[str]:
    """Return the subjects that the shipped T1 model did not learn from."""
    subjects: list[str] = read_record(Path("models/t1.training.json")).holdout_subjects
    return subjects


def prepare(shipped: Model, shared: Path) -> dict[str, list[CanonicalVolume]]:
    """Return the canonical brains of all subjects that were trained on."""
    unseen = set(held_out_subjects())
    cases = [case for case in find_cases([shared / "ixi"], contrast="t1") if case.subject not in unseen]
    brains = {}
    for case in cases:
        brains[case.subject] = canonical_of(open_scan(case), shipped)
    return brains


def patients_of(shipped: Model, shared: Path) -> list[Patient]:
    """Return the gliomas."""
    found = []
    for pair in find_labelled(sorted((shared / "gliomas").glob("*_t1.nii.gz")), "{subject}_seg.nii.gz", contrast="t1"):
        scan = open_scan(pair.case, brain_mask="auto")
        canonical = canonical_of(scan, shipped)
        truth, _ = read_labels(pair.label, scan.volume)
        covered = onto_grid(truth.astype(np.float32), scan.volume, scan.brain, canonical.grid)
        found.append(Patient(pair.case.subject, canonical, covered > 0.5))
    return found


def train(variant: Variant, shipped: Model, brains: dict, seed: int, shared: Path) -> Model:
    """Return a calibrated model."""
    looks = [
        appearance_of(subject, "t1", seed=seed, variant=index)(brain) if variant.gammas else brain
        for subject, brain in brains.items()
        for index in range(2)
    ]
    slices = join_slices([to_slices(look) for look in looks])
    fit = FitOptions(
        epochs=max(1, round(variant.steps * 64 / len(slices))), seed=seed, coarse_noise_sd=variant.coarse_noise_sd
    )
    before = {name: getattr(augmentation, name) for name in variant.constants}
    for name, value in variant.constants.items():
        setattr(augmentation, name, value)
    try:
        weights, _ = train_vae(slices, slices[:64], fit)
    finally:
        for name, value in before.items():
            setattr(augmentation, name, value)
    facts = shipped.facts.model_copy(update={"healthy": None})
    bare = checkpoint(facts, weights, {"template": shipped.places["template"]}, shipped.checkpoint.graphs)
    held_out = [shared / "ixi" / f"{subject}_t1.nii.gz" for subject in held_out_subjects()]
    return ready(calibrate_cases(bare, find_cases(held_out)))


def measured(name: str, seed: int, model: Model, patients: list[Patient]) -> Iterator[dict]:
    """Yield a row a method and patient."""
    for patient in patients:
        mask = patient.canonical.mask
        features = score_canonical(patient.canonical, model, METHODS).features
        for method, values in normalised_maps(features, mask, model.places, METHODS).items():
            magnitude = np.abs(values)
            lesion, other = np.sort(magnitude[mask & patient.truth]), np.sort(magnitude[mask & ~patient.truth])
            ranking = rank_sorted([lesion], [other])
            threshold = healthy_threshold(model.checkpoint, method, FPR)
            yield dict(
                zip(
                    FIELDS,
                    (
                        name,
                        seed,
                        method,
                        patient.subject,
                        ranking.auroc,
                        ranking.average_precision,
                        dice_at(lesion, other, threshold),
                        above(other, threshold) / len(other),
                    ),
                    strict=True,
                )
            )


def append(path: Path, rows: list[dict]) -> None:
    """Add the rows of one run at once."""
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, FIELDS)
        if new:
            writer.writeheader()
        writer.writerows(rows)


def _rows(path: Path) -> list[dict]:
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def page(rows: list[dict]) -> str:
    """Return the table of all rows."""
    text = (
        "# The worth of each part of the training\n\n"
        f"Made by `python benchmarks/ablation.py`; {platform.machine()}, torch {torch.__version__}, one thread.\n"
        "Five gliomas on T1, measured in the brain on the canonical grid, mean over patients.\n"
        "Each row is a model that was trained anew with one part changed.\n"
        "A difference below that between two seeds of one row means nothing.\n\n"
        "| training | seed | Combi AP (AUROC) | Rec-Error AP (AUROC) | KL-Grad AP (AUROC) |\n|---|---|---|---|---|\n"
    )

    def mean(of: list[dict], method: str, name: str) -> float:
        return float(np.mean([float(row[name]) for row in of if row["method"] == method]))

    runs: dict[tuple[str, str], list[dict]] = {}
    for row in rows:
        runs.setdefault((row["variant"], row["seed"]), []).append(row)
    for variant, seed in sorted(runs, key=lambda run: (list(VARIANTS).index(run[0]), int(run[1]))):
        of = runs[variant, seed]
        text += (
            f"| {variant} | {seed} | "
            + " | ".join(
                f"{mean(of, m, 'ap'):.3f} ({mean(of, m, 'auroc'):.3f})" for m in ("combi", "rec-error", "kl-grad")
            )
            + " |\n"
        )
    return text


if __name__ == "__main__":
    main()
