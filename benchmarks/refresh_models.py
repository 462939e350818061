"""Take the healthy statistics of the shipped models anew, after their definition has changed; the weights stay.

    python benchmarks/refresh_models.py --shared ../shared/data

Subjects and their appearances are those of the training (`models/*.training.json`, seed 0): the result is what
`vae-loc train` would now write with these weights. T2 is then calibrated on the real T2 of ds011, as
`vae-loc calibrate --healthy` does.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from vae_loc.model.checkpoint import Checkpoint, checkpoint, load_checkpoint, save_checkpoint
from vae_loc.model.facts import FORMAT_VERSION
from vae_loc.preprocessing.pseudo_contrast import appearance_of
from vae_loc.scans.cases import Case, find_cases
from vae_loc.scoring.aligned_scan import preprocessing, registration_of
from vae_loc.system.writing import together, write_json
from vae_loc.training.healthy_reference import calibrate_cases
from vae_loc.training.training_record import read_record

MODELS = Path("models")


def refresh(path: Path, shared: Path) -> None:
    """Rewrite one model and the digest in its training record."""
    record_path = path.with_suffix(".training.json")
    record = read_record(record_path)
    new = without_site(path, shared)
    site = site_cases(new.facts.contrast, shared)
    if site:
        new = calibrate_cases(new, site)
    subjects = sorted(case.subject for case in site)
    update = {"model_sha256": new.digest, "calibration_subjects": subjects}
    with together():
        save_checkpoint(new, path)
        write_json(record_path, record.model_copy(update=update).model_dump(mode="json"))


def without_site(path: Path, shared: Path) -> Checkpoint:
    """Return a model with the healthy statistics that `vae-loc train` would give its weights."""
    record, old = read_record(path.with_suffix(".training.json")), load_checkpoint(path)
    update = {"preprocessing": preprocessing(registration_of(old)), "healthy": None, "format_version": FORMAT_VERSION}
    bare = checkpoint(
        old.facts.model_copy(update=update), old.weights, {"template": old.places["template"]}, old.graphs
    )
    synthesized = bare.facts.training.synthesized_from is not None
    scans = [shared / "ixi" / f"{subject}_t1.nii.gz" for subject in record.training_subjects + record.holdout_subjects]
    scans += [shared / "ds002748" / f"{subject}_t1.nii.gz" for subject in record.reference_subjects]
    return calibrate_cases(
        bare,
        find_cases(scans),
        learned=set(record.training_subjects),
        appear_of=lambda case: appearance_of(case.subject, bare.facts.contrast) if synthesized else None,
        progress=lambda name: print(path.stem, name, flush=True),
    )


def site_cases(contrast: str, shared: Path) -> list[Case]:
    """Return the real healthy scans on which a shipped model is calibrated: T2 on ds011."""
    scans = sorted((shared / "ds011").glob(f"*_{contrast}.nii.gz"))
    return find_cases(scans) if scans else []


def main() -> None:
    """Refresh the models named, or all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, default=Path("../shared/data"))
    parser.add_argument("model", nargs="*", help="t1, t2, flair")
    options = parser.parse_args()
    torch.set_num_threads(1)
    for name in options.model or sorted(path.stem for path in MODELS.glob("*.safetensors")):
        refresh(MODELS / f"{name}.safetensors", options.shared)


if __name__ == "__main__":
    main()
