"""Take the healthy statistics of the shipped models anew, after their definition has changed; the weights stay.

    python -m benchmarks.tools.refresh_models --shared ../shared/data

Subjects and their appearances are those of the training (`models/*.training.json`, seed 0), the reference is
ds002748: the result is what `vae-loc train --reference` would now write with these weights. T2 is then calibrated on
the real T2 of ds011, as `vae-loc calibrate --healthy` does, and T2 and FLAIR on ordinary scans of patients whose lesions
are annotated, as `vae-loc calibrate --unselected --labels` does (design [95]).
"""

from __future__ import annotations

from pathlib import Path

import torch

from benchmarks.cohorts import ordinary_cases, reference_cases, site_cases
from benchmarks.command import parser_of
from vae_loc.model.checkpoint import Checkpoint, checkpoint, load_checkpoint, save_checkpoint
from vae_loc.model.facts import FORMAT_VERSION
from vae_loc.preprocessing.pseudo_contrast import appearance_of
from vae_loc.scans.cases import find_cases
from vae_loc.scoring.aligned_scan import PREPROCESSING
from vae_loc.system.writing import together, write_json
from vae_loc.training.healthy_reference import calibrate_cases, calibrate_unselected
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
    ordinary = [] if new.facts.contrast == "t1" else ordinary_cases(new.facts.contrast, shared)
    if ordinary:
        new = calibrate_unselected(new, ordinary)
    update = {
        "model_sha256": new.digest,
        "calibration_subjects": sorted(case.subject for case in [*site, *(case for case, _ in ordinary)]),
        "reference_subjects": [case.subject for case in reference_cases(shared)],
    }
    with together():
        save_checkpoint(new, path)
        write_json(record_path, record.model_copy(update=update).model_dump(mode="json"))


def without_site(path: Path, shared: Path) -> Checkpoint:
    """Return a model with the healthy statistics that `vae-loc train` would give its weights."""
    record, old = read_record(path.with_suffix(".training.json")), load_checkpoint(path)
    reference = reference_cases(shared)
    update = {
        "preprocessing": PREPROCESSING,
        "healthy": None,
        "format_version": FORMAT_VERSION,
        "training": old.facts.training.model_copy(update={"reference_subjects": len(reference)}),
    }
    bare = checkpoint(old.facts.model_copy(update=update), old.weights, {"template": old.reference["template"]})
    synthesized = bare.facts.training.synthesized_from is not None
    scans = [shared / "ixi" / f"{subject}_t1.nii.gz" for subject in record.training_subjects + record.holdout_subjects]
    return calibrate_cases(
        bare,
        find_cases(scans) + reference,
        learned=set(record.training_subjects),
        appear_of=lambda case: appearance_of(case.subject, bare.facts.contrast) if synthesized else None,
        progress=lambda name: print(path.stem, name, flush=True),
    )


def main() -> None:
    """Refresh the models named, or all."""
    parser = parser_of(__doc__, shared=True)
    parser.add_argument("model", nargs="*", help="t1, t2, flair")
    options = parser.parse_args()
    torch.set_num_threads(1)
    for name in options.model or sorted(path.stem for path in MODELS.glob("*.safetensors")):
        refresh(MODELS / f"{name}.safetensors", options.shared)


if __name__ == "__main__":
    main()
