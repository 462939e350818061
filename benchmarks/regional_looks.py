"""Trial: T2 made from T1 with a look of its own for each region of the brain, instead of one curve for all voxels.

    python benchmarks/regional_looks.py --shared ../shared/data

Each region of the atlas is drawn brighter or darker at random, as label-driven synthesis does (SynthSeg, Billot et al.
2023); where iron lies (pallidum, nigra, ...), T2 is darker. Networks learn from such brains, and healthy statistics are
taken of them, each alone and together. The model is then calibrated on real T2 and judged on that and on the patients.
Prints its tables; what they led to is decision 90. About 15 minutes on one core.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from unittest import mock

import findings
import numpy as np
import torch
from refresh_models import reference_cases, site_cases

from vae_loc.model.checkpoint import Checkpoint, checkpoint
from vae_loc.model.network import Model, load_model, ready
from vae_loc.preprocessing import pseudo_contrast
from vae_loc.preprocessing.canonical import FIELD_OF_VIEW_MM, CanonicalVolume, standardized
from vae_loc.preprocessing.open_scan import open_scan
from vae_loc.preprocessing.pseudo_contrast import FLUID, T1_LANDMARKS, WHITE, Rng, appearance_of
from vae_loc.preprocessing.resampling import doubled, low_passed
from vae_loc.preprocessing.slices import to_slices
from vae_loc.scans.cases import Case, find_cases
from vae_loc.scoring.aligned_scan import canonical_of
from vae_loc.scoring.anatomy import FLUID as FLUID_LOBES
from vae_loc.scoring.anatomy import labels_for, regions
from vae_loc.training.fit import SYNTHESIZED_STEPS, FitOptions, join_slices, short_epochs, train_vae
from vae_loc.training.healthy_reference import calibrate_cases
from vae_loc.training.train import APPEARANCES
from vae_loc.training.training_record import read_record
from vae_loc.vocabulary import FloatArray

REGION_SD = 0.05  # of a region's brightness, relative
IRON = {  # by how much T2 is darker there, relative, uniform
    "pallidum": (0.08, 0.35),
    "putamen": (0.0, 0.15),
    "caudate nucleus": (0.0, 0.12),
    "thalamus": (0.0, 0.1),
    "ventral diencephalon": (0.03, 0.25),
    "cerebellar white matter": (0.0, 0.12),
}
SOLID_T1 = (0.3, 0.55)  # T1 intensity from fluid to tissue, between which a region's look comes to count
Appearance = Callable[[CanonicalVolume, str, Rng], CanonicalVolume]


def main() -> None:
    """Print the tables of each pair of network and statistics."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, default=Path("../shared/data"))
    shared = parser.parse_args().shared
    torch.set_num_threads(1)
    path = Path("models/t2.safetensors")
    shipped = load_model(path)
    record = read_record(path.with_suffix(".training.json"))
    learned, held_out = (
        find_cases([shared / "ixi" / f"{subject}_t1.nii.gz" for subject in subjects])
        for subjects in (record.training_subjects, record.holdout_subjects)
    )
    looks: dict[str, Appearance] = {"curve": pseudo_contrast.appearance, "regions": regional(shipped)}
    weights = {"curve": shipped.checkpoint.weights, "regions": trained(looks["regions"], learned, held_out, shipped)}
    for network, statistics in (("curve", "curve"), ("curve", "regions"), ("regions", "regions")):
        before = with_statistics(weights[network], looks[statistics], learned, held_out, shipped, shared)
        sites = site_cases("t2", shared)
        print(f"\n# network: {network}, statistics: {statistics}")
        print(findings.real_page(before, sites, shared))
        print(findings.patients_page(ready(calibrate_cases(before, sites)), "t2", shared), flush=True)


def regional(model: Model) -> Appearance:
    """Return `appearance` of T2 with a look for each region of the atlas on a model's template."""
    labels = labels_for(model.reference["template"], FIELD_OF_VIEW_MM / 64)
    whole = np.ones(labels.shape, dtype=bool)

    def appearance(canonical: CanonicalVolume, contrast: str, rng: Rng) -> CanonicalVolume:
        tissue = np.array(pseudo_contrast._t2(rng))
        field = low_passed(factors(rng)[labels], (1.0,) * 3) / low_passed(whole.astype(np.float32), (1.0,) * 3)
        look = replace(canonical, data=looking(canonical, tissue, field))
        return (
            look if look.fine is None else replace(look, fine=looking(canonical.halved, tissue, doubled(field, whole)))
        )

    return appearance


def factors(rng: Rng) -> FloatArray:
    """Return by how much each region's T2 is multiplied, float32 (256,), both sides alike; fluid stays."""
    drawn: dict[tuple[str, str], float] = {}
    result = np.ones(256, dtype=np.float32)
    for index, region in regions().items():
        key = region.lobe, region.name
        if region.lobe not in FLUID_LOBES and key not in drawn:
            drawn[key] = (1 + rng.normal(0, REGION_SD)) * (1 - rng.uniform(*IRON.get(region.name, (0.0, 0.0))))
        result[index] = drawn.get(key, 1.0)
    return result


def looking(canonical: CanonicalVolume, tissue: np.ndarray, field: FloatArray) -> FloatArray:
    """Return what `pseudo_contrast` makes of a T1 brain, tissue multiplied by a field (I, I, I)."""
    low, high = np.percentile(
        canonical.data[canonical.mask], (pseudo_contrast.FLUID_PERCENTILE, pseudo_contrast.WHITE_PERCENTILE)
    )
    t1 = FLUID + (WHITE - FLUID) * (canonical.data - low) / ((high - low) or 1.0)
    share = np.clip((t1 - FLUID) / (T1_LANDMARKS[3] - FLUID), 0, 1)
    border = pseudo_contrast._ventricle_border(t1, canonical)
    values = np.where(border, tissue[1] + (tissue[3] - tissue[1]) * share, np.interp(t1, T1_LANDMARKS, tissue))
    solid = np.clip((t1 - SOLID_T1[0]) / (SOLID_T1[1] - SOLID_T1[0]), 0, 1)
    return standardized((values * (1 + solid * (field - 1))).astype(np.float32), canonical.mask)


def trained(look: Appearance, learned: list[Case], held_out: list[Case], shipped: Model) -> dict[str, FloatArray]:
    """Return the weights of a network trained as the shipped one, on brains of another look."""
    parts = []
    with mock.patch.object(pseudo_contrast, "appearance", look):
        for cases in (learned, held_out):
            brains = [
                (of.subject, replace(canonical_of(open_scan(of), shipped, lambda same: same), fine=None))
                for of in cases
            ]
            parts.append(
                join_slices(
                    [
                        to_slices(appearance_of(subject, "t2", variant=variant)(brain))
                        for subject, brain in brains
                        for variant in range(APPEARANCES)
                    ]
                )
            )
    return train_vae(*parts, FitOptions(epochs=short_epochs(len(parts[0]), 64, steps=SYNTHESIZED_STEPS)))[0]


def with_statistics(
    weights: dict[str, FloatArray],
    look: Appearance,
    learned: list[Case],
    held_out: list[Case],
    shipped: Model,
    shared: Path,
) -> Checkpoint:
    """Return a model with healthy statistics of brains of a look, as `vae-loc train --reference` takes them."""
    facts = shipped.facts.model_copy(update={"healthy": None})
    bare = checkpoint(facts, weights, {"template": shipped.reference["template"]}, shipped.checkpoint.graphs)
    with mock.patch.object(pseudo_contrast, "appearance", look):
        return calibrate_cases(
            bare,
            learned + held_out + reference_cases(shared),
            learned={case.subject for case in learned},
            appear_of=lambda case: appearance_of(case.subject, "t2"),
        )


if __name__ == "__main__":
    main()
