"""Take the healthy statistics of the shipped models anew, after their definition has changed; the weights stay.

    python -m benchmarks.tools.refresh_models --shared ../shared/data

Subjects and their appearances are those of the training (`models/*.training.json`, seed 0), the reference is
ds002748: the result is what `vae-loc train --reference` would now write with these weights. T2 is then calibrated on
the real T2 of ds011, as `vae-loc calibrate --healthy` does. For FLAIR there are no healthy scans; how strong findings
outside lesions are is told by four people with multiple sclerosis too (design [82]).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from benchmarks.cohorts import reference_cases, site_cases
from benchmarks.command import parser_of
from vae_loc.model.checkpoint import Checkpoint, checkpoint, load_checkpoint, save_checkpoint, with_reference
from vae_loc.model.facts import FORMAT_VERSION
from vae_loc.model.network import Model, ready
from vae_loc.preprocessing.canonical import onto_grid
from vae_loc.preprocessing.open_scan import open_scan
from vae_loc.preprocessing.pseudo_contrast import appearance_of
from vae_loc.scans.cases import Case, find_cases
from vae_loc.scans.volume import read_labels
from vae_loc.scoring.aligned_scan import PREPROCESSING
from vae_loc.scoring.findings import candidates_of, healthy_findings, known_findings
from vae_loc.scoring.locate import locate
from vae_loc.scoring.score_options import ScoreOptions
from vae_loc.system.writing import together, write_json
from vae_loc.training.healthy_reference import PRIOR_SUBJECTS, calibrate_cases
from vae_loc.training.training_record import read_record
from vae_loc.vocabulary import MAPS

MODELS = Path("models")


def refresh(path: Path, shared: Path) -> None:
    """Rewrite one model and the digest in its training record."""
    record_path = path.with_suffix(".training.json")
    record = read_record(record_path)
    new = without_site(path, shared)
    site = site_cases(new.facts.contrast, shared)
    if site:
        new = calibrate_cases(new, site)
    if new.facts.contrast == "flair":
        new = with_real_rest(new, shared)
    update = {
        "model_sha256": new.digest,
        "calibration_subjects": sorted(case.subject for case in site),
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


def with_real_rest(model: Checkpoint, shared: Path) -> Checkpoint:
    """Return a FLAIR model that knows what it finds outside the annotated lesions of real scans.

    The synthesized healthy scans have no vessels, plexus or flow. They count as `PRIOR_SUBJECTS` scans beside the real.
    """
    healthy = model.facts.healthy
    assert healthy is not None
    loaded = ready(model)
    rests = [rest_of(scan, shared / label, loaded) for scan, label in lesion_scans(shared)]
    findings = {
        method: healthy_findings(
            known.extent,
            [strengths[method] for strengths in rests],
            known_findings(model.facts, method),
            prior_weight=PRIOR_SUBJECTS,
            kind="ordinary",
        )
        for method, known in healthy.findings.items()
    }
    return with_reference(model, model.reference, healthy.model_copy(update={"findings": findings}), model.modes)


def lesion_scans(shared: Path) -> list[tuple[Case, str]]:
    """Return the FLAIR scans that may tell of findings outside lesions, and their annotations."""
    labels = {"ms": "_lesions", "ms_tabriz": "_seg"}
    return [
        (case, f"{folder}/{case.subject}{label}.nii.gz")
        for folder, label in labels.items()
        for case in find_cases(sorted((shared / folder).glob("*_flair.nii.gz")))
    ]


def rest_of(case: Case, label: Path, model: Model) -> dict[str, list[float]]:
    """Return, for each map, the strengths of the candidates that touch no lesion, strongest first."""
    scan = open_scan(case)
    truth, _ = read_labels(label, scan.volume)
    located = locate(scan, model, ScoreOptions(methods=MAPS, force=True))
    strengths: dict[str, list[float]] = {}
    for method, known in model.facts.healthy.findings.items():
        frame = located.frame(method)
        lesion = onto_grid(truth.astype(np.float32), scan.volume, scan.brain, frame.grid) > 0
        labels, candidates = candidates_of(located.signed_maps[method], known.extent)
        touching = set(np.unique(labels[lesion]))
        rest = (candidate.strength for candidate in candidates if candidate.label not in touching)
        strengths[method] = sorted(rest, reverse=True)
    return strengths


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
