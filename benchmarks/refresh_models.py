"""Take the healthy statistics of the shipped models anew, after their definition has changed; the weights stay.

    python benchmarks/refresh_models.py --ixi ../shared/data/ixi

The held-out subjects and their appearances are those of the training (`models/*.training.json`, seed 0): the
result is what `vae-loc train` would now write with these weights.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch

from vae_loc.model.checkpoint import checkpoint, load_checkpoint, save_checkpoint
from vae_loc.preprocessing.pseudo_contrast import appearance_of
from vae_loc.scans.cases import find_cases
from vae_loc.scoring.locate import preprocessing, registration_of
from vae_loc.system.writing import together, write_json
from vae_loc.training.healthy_reference import calibrate_cases

MODELS = Path("models")


def refresh(path: Path, ixi: Path) -> None:
    """Rewrite one model and the digest in its training record."""
    record_path = path.with_suffix(".training.json")
    record = json.loads(record_path.read_text())
    old = load_checkpoint(path)
    facts = old.facts.model_copy(update={"preprocessing": preprocessing(registration_of(old)), "healthy": None})
    bare = checkpoint(facts, old.weights, {"template": old.places["template"]}, old.graphs)
    synthesized = facts.training.synthesized_from is not None
    new = calibrate_cases(
        bare,
        find_cases([ixi / f"{subject}_t1.nii.gz" for subject in record["holdout_subjects"]]),
        appear_of=lambda case: appearance_of(case.subject, facts.contrast) if synthesized else None,
        progress=lambda name: print(path.stem, name, flush=True),
    )
    with together():
        save_checkpoint(new, path)
        write_json(record_path, record | {"model_sha256": new.digest})


def main() -> None:
    """Refresh the models named, or all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ixi", type=Path, default=Path("../shared/data/ixi"))
    parser.add_argument("model", nargs="*", help="t1, t2, flair")
    options = parser.parse_args()
    torch.set_num_threads(1)
    for name in options.model or sorted(path.stem for path in MODELS.glob("*.safetensors")):
        refresh(MODELS / f"{name}.safetensors", options.ixi)


if __name__ == "__main__":
    main()
